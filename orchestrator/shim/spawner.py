"""The spawner: imports the shim once, forks one a request, holds nothing, ends with its socket."""

from __future__ import annotations

import gc
import os
import struct
import sys
from _socket import CMSG_SPACE, socket

from orchestrator.shim import files, process, runner, signals, wire
from orchestrator.shim import main as shim

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    Json = dict[str, Any]

REQUEST_LIMIT_BYTES = 1 << 17
PANIC_NAME = "panic"


def main(fd: int) -> int:
    """Serve requests on descriptor ``fd``, a SOCK_SEQPACKET socket, until it is closed.

    A request is one message, JSON with one descriptor; its answer one message, in order.
    """
    # Nobody waits for shims here. The shim sets SIGCHLD back: ignored, exit codes are lost.
    signals.set_action(signals.SIGCHLD, signals.SIG_IGN)
    requests = socket(fileno=fd)
    process.close_on_exec(fd)
    # A collection walks, and so copies, what is shared; nothing here makes cycles.
    gc.collect()
    gc.freeze()
    gc.disable()
    while True:
        try:
            text, ancillary, _, _ = requests.recvmsg(REQUEST_LIMIT_BYTES, CMSG_SPACE(4))
        except OSError:
            return 0
        if not text:
            return 0
        requests.send(wire.encoded(_answer(text, _descriptors(ancillary))))


def _answer(text: bytes, fds: list[int]) -> Json:
    try:
        request = wire.decoded_object(text)
        serve = {"shim": shim.run, "exec": runner.run}[request["op"]]
        return {"pid": _fork(serve, request, fds[0])}
    except OSError as error:
        return {"error": f"cannot fork: {error.strerror}", "errno": error.errno}
    except (ValueError, KeyError, TypeError, IndexError) as error:
        return {"error": f"cannot understand this: {error!r:.200}", "errno": 0}
    finally:
        for fd in fds:
            os.close(fd)


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    return [number for _, _, data in ancillary for (number,) in struct.iter_unpack("i", data)]


def _fork(serve: Callable[[Json, socket], int], request: Json, fd: int) -> int:
    pid = os.fork()
    if pid == 0:
        _be(serve, request, fd)
    return pid


def _be(serve: Callable[[Json, socket], int], request: Json, fd: int) -> NoReturn:
    code = 70
    try:
        process.close_on_exec(fd)
        connection = socket(fileno=fd)
        code = serve(request, connection)
    except BaseException:  # noqa: BLE001 the outer guard of a process
        _leave_word(request)
    finally:
        os._exit(code)


def _leave_word(request: Json) -> None:
    """Write down why a shim died; it has no stderr that anybody would see."""
    import traceback

    folder = request.get("service_dir")
    if not folder:
        return
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    fd = files.open_in(f"{folder}/{PANIC_NAME}", flags)
    os.write(fd, traceback.format_exc().encode("utf-8", "replace"))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
