"""A service that dies says why in `ps`, `status` and `up`, not only in its log."""

import sys

from tests.e2e.conftest import Make

NEVER = {"policy": "no"}


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_the_exception_of_a_service_that_dies_is_its_cause(make: Make) -> None:
    code = "import sys; print('x' * 100_000); sys.stdout.flush(); raise RuntimeError('no disk')"
    one = make({"web": {"command": python(code), "restart": NEVER, "health": "none"}})
    ran = one.run("up", "-d", "--wait")
    assert ran.code == 18, ran
    assert "RuntimeError: no disk" in ran.out + ran.err
    assert "; RuntimeError: no disk" in one.ps()["web"]["cause"]["text"]
    assert "RuntimeError: no disk" in one.run("status", "web").out


def test_a_reason_of_an_earlier_run_is_not_told_again(make: Make) -> None:
    code = (
        "import os, sys\n"
        "if not os.path.exists('died'): open('died', 'w').close(); raise RuntimeError('first')\n"
        "sys.exit(3)"
    )
    limit = {"limit": {"failures": 1}, "backoff": {"initial": "1ms"}}
    one = make({"web": {"command": python(code), "restart": limit}})
    assert one.run("up", "-d", "--wait").code == 18
    text = one.ps()["web"]["cause"]["text"]
    assert "exit code 3" in text
    assert "first" not in text


def test_a_service_that_is_stopped_has_no_last_words(make: Make) -> None:
    code = "import signal; print('ready', flush=True); signal.pause()"
    handler = "import signal; signal.signal(15, lambda *_: 1 / 0); "
    one = make({"web": {"command": python(handler + code)}})
    one.up()
    one.wait_for_log("web", b"ready")
    assert one.run("stop", "web").code == 0
    assert b"ZeroDivisionError" in one.log("web")
    assert "ZeroDivisionError" not in one.ps()["web"]["cause"]["text"]
