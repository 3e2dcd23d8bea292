"""What all tests share."""

import signal

# Who starts the tests in the background of a script hands down that Ctrl-C is ignored; what the
# tests start must not inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
