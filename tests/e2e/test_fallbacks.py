"""The whole product with its fast paths switched off."""

import os
import signal

import pytest

from tests.e2e.conftest import Make
from tests.stack import evil, free_port

FAST_PATHS = ["splice", "tee", "pidfd", "subreaper", "posix_spawn", "procfd", "sock_diag"]


@pytest.mark.parametrize("switched_off", [*FAST_PATHS, ",".join(FAST_PATHS)])
def test_all_works_without_a_fast_path(make: Make, switched_off: str) -> None:
    port = free_port()
    one = make(
        {
            "web": {
                "command": evil("http_ok", port, "print", "up", "hang"),
                "port": port,
                "health": {"http": "/"},
                "logs": {"max_size": "4KiB"},
            },
            "writer": {"command": ["seq", "1", "5000"], "logs": {"max_size": "8KiB"}},
        }
    )
    ran = one.run("up", "-d", "--wait", ORCH_DISABLE=switched_off)
    assert ran.code == 0, ran
    assert one.log("writer") == b"".join(b"%d\n" % number for number in range(1, 5001))
    os.kill(one.service("web")["pid"], signal.SIGKILL)
    again = one.wait_for("web", lambda now: now["run"] == 2 and now["health"] == "healthy")
    assert again["signal"] == "KILL"
    one.kill_supervisor()
    one.up(ORCH_DISABLE=switched_off)
    assert one.service("web")["pid"] == again["pid"]
    doctor = one.run("doctor", ORCH_DISABLE=switched_off)
    for name in switched_off.split(","):
        assert f"· {name}" in doctor.out
    one.down()
    assert one.survivors() == set()
