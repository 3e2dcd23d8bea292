"""Starting, adopting, stopping: the stack as a whole."""

import contextlib
import json
import os
import signal
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.conftest import Make
from tests.stack import evil, free_port, is_alive, wait_until

HANG = {"command": evil("print", "up", "hang")}


def test_up_starts_everything_in_order_and_says_that_it_is_healthy(make: Make) -> None:
    port = free_port()
    one = make(
        {
            "web": {
                "command": evil("http_ok", port, "hang"),
                "port": port,
                "health": {"http": "/"},
                "depends_on": ["db"],
            },
            "db": HANG,
        }
    )
    ran = one.run("up", "-d", "--wait")
    assert ran.code == 0, ran
    assert "web" in ran.out
    assert "healthy" in ran.out
    items = {
        item["name"]: item for item in json.loads(one.run("ps", "--format", "json").out)["services"]
    }
    assert items["web"]["state"] == "running"
    assert items["web"]["health"] == "healthy"
    assert items["web"]["url"] == f"http://127.0.0.1:{port}"
    assert items["db"]["health"] == "-"


def test_down_leaves_nothing_of_the_stack_alive(make: Make) -> None:
    one = make({"a": HANG, "b": HANG | {"depends_on": ["a"]}})
    one.up()
    pids = [item["pid"] for item in one.snapshot()["services"]]
    assert all(is_alive(pid) for pid in pids if pid)
    assert one.down().code == 0
    assert one.survivors() == set()
    assert one.run("ps").code == 7
    assert one.run("down").code == 0


def test_a_second_up_finds_the_stack_running_and_starts_nothing_twice(make: Make) -> None:
    one = make({"a": HANG})
    one.up()
    before = one.service("a")
    one.up()
    assert one.service("a")["pid"] == before["pid"]


def test_twenty_ups_at_once_give_one_stack(make: Make) -> None:
    one = make({"a": {"command": evil("print", "up", "hang")}})
    with ThreadPoolExecutor(20) as pool:
        codes = [
            ran.code for ran in pool.map(lambda _: one.run("up", "-d", within_s=55), range(20))
        ]
    assert codes == [0] * 20
    assert one.log("a") == b"up\n"
    assert len(one.shim_pids()) == 1
    assert one.service("a")["run"] == 1


def test_after_a_kill_of_the_supervisor_up_adopts_the_same_processes(make: Make) -> None:
    one = make({"a": HANG, "crashing": {"command": evil("print", "x", "hang")}})
    one.up()
    os.kill(one.wait_for_state("crashing", "running")["pid"], signal.SIGKILL)
    one.wait_for("crashing", lambda item: item["run"] == 2 and item["state"] == "running")
    before = {item["name"]: item for item in one.snapshot()["services"]}
    one.kill_supervisor()
    assert one.run("status").code == 4
    one.up()
    for name, item in before.items():
        now = one.service(name)
        for key in ("pid", "run", "restarts", "cause", "started_at"):
            if key == "started_at":
                assert now[key][:19] <= item[key][:19] or now[key][:16] == item[key][:16]
            else:
                assert now[key] == item[key], (name, key)


def test_down_works_with_no_supervisor_alive_and_no_readable_file(make: Make) -> None:
    one = make({"a": HANG, "b": HANG | {"depends_on": ["a"]}})
    one.up()
    one.kill_supervisor()
    one.file.write_text("services: [not, valid")
    one.down()
    assert one.survivors() == set()


def test_what_was_stopped_by_hand_stays_stopped_when_up_adopts(make: Make) -> None:
    one = make({"a": HANG, "b": HANG})
    one.up()
    assert one.run("stop", "b").code == 0
    one.kill_supervisor()
    one.up()
    assert one.service("b")["state"] == "stopped"
    assert one.service("a")["state"] == "running"
    one.up("b")
    one.wait_for_state("b", "running")


def test_a_service_that_ended_while_nobody_supervised_is_dealt_with_at_adoption(make: Make) -> None:
    one = make({"a": {"command": evil("print", "x", "hang")}})
    one.up()
    first = one.wait_for_state("a", "running")
    one.kill_supervisor()
    os.kill(first["pid"], signal.SIGKILL)
    wait_until(lambda: not is_alive(first["pid"]))
    one.up()
    now = one.wait_for_state("a", "running")
    assert now["run"] == 2
    assert now["signal"] == "KILL"
    assert now["cause"]["kind"] == "signal"


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::1"])
def test_a_port_held_by_somebody_else_is_refused_before_anything_starts(
    make: Make, address: str
) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as held:
        held.bind((address, 0))
        held.listen()
        port = held.getsockname()[1]
        one = make({"first": HANG, "web": HANG | {"port": port, "depends_on": ["first"]}})
        ran = one.run("up", "-d")
        assert ran.code == 8, ran
        assert str(port) in ran.err
        assert f"pid {os.getpid()}" in ran.err
        assert one.log("first") == b""
        assert one.survivors() == set()
        with socket.create_connection((address, port), timeout=5):
            pass


def test_an_invalid_file_is_exit_code_6_with_every_problem_and_starts_nothing(make: Make) -> None:
    one = make({"a": {"comand": "x"}, "b": HANG | {"depends_on": ["aa"]}})
    ran = one.run("up", "-d")
    assert ran.code == 6
    assert 'services.yaml:4:5: services.a.comand: unknown key; did you mean "command"?' in ran.err
    assert 'did you mean "a"?' in ran.err
    assert one.survivors() == set()


def test_no_alternative_of_a_run_met_is_exit_code_5(make: Make) -> None:
    alternative = {"requires": {"program": "no-such-program-here"}, "command": ["x"]}
    one = make({"a": {"run": [alternative]}})
    ran = one.run("up", "-d", "--wait")
    assert ran.code == 5, ran
    assert "no-such-program-here" in ran.err


def test_the_first_alternative_that_is_met_is_taken_and_ps_tells_why(make: Make) -> None:
    one = make(
        {
            "a": {
                "run": [
                    {"requires": {"program": "no-such-program-here"}, "command": ["x"]},
                    {"command": evil("print", "second", "hang")},
                ]
            }
        }
    )
    one.up()
    item = one.wait_for_state("a", "running")
    assert item["alternative"] == 1
    assert "no-such-program-here" in item["alternatives"][0]["why"]
    shown = one.run("ps").out
    assert "└ alternative 1 of its run: " in shown
    assert "· 0 was passed over: 'no-such-program-here' is not on PATH" in shown
    one.run("stop", "a")
    assert "alternative" not in one.run("ps", "-a").out


def test_one_failed_one_shot_in_a_chain_of_eight(make: Make) -> None:
    """`up` ends with 18 and names it; mended and restarted, the chain completes by itself."""
    services = {}
    for number in range(1, 9):
        services[f"step{number}"] = {
            "command": ["sh", "-c", f"test ! -e broken || test {number} != 3"],
            "oneshot": True,
            "restart": "no",
            "depends_on": [f"step{number - 1}"] if number > 1 else [],
        }
    one = make(services)
    broken = one.folder / "broken"
    broken.touch()
    ran = one.run("up", "-d", "--wait")
    assert ran.code == 18, ran
    assert "step3" in ran.err
    states = {item["name"]: item["state"] for item in one.snapshot()["services"]}
    assert states["step2"] == "completed"
    assert states["step3"] == "failed"
    waiting = [one.service(f"step{number}") for number in range(4, 9)]
    assert [item["state"] for item in waiting] == ["pending"] * 5
    assert [item["waiting_for"][0]["service"] for item in waiting] == [
        "step3", "step4", "step5", "step6", "step7",
    ]  # fmt: skip
    broken.unlink()
    assert one.run("restart", "step3").code == 0
    assert one.run("wait", "step8", "--for", "completed").code == 0
    assert {item["state"] for item in one.snapshot()["services"]} == {"completed"}


def test_the_restart_of_a_service_leaves_its_dependants_running(make: Make) -> None:
    one = make({"db": HANG, "web": HANG | {"depends_on": ["db"]}})
    one.up()
    web, db = one.wait_for_state("web", "running"), one.service("db")
    assert one.run("restart", "db").code == 0
    assert one.service("db")["pid"] != db["pid"]
    assert one.service("db")["restarts"] == 0
    assert one.service("web")["pid"] == web["pid"]


def test_the_daemon_survives_the_end_of_the_group_that_started_it(make: Make) -> None:
    one = make({"a": HANG})
    starter = one.start("up", "-d", process_group=0)
    starter.wait(20)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(starter.pid, signal.SIGTERM)
    assert one.wait_for_state("a", "running")["pid"]
    assert os.getsid(one.supervisor_pid) != os.getsid(0)


def test_it_can_be_started_with_signals_ignored(make: Make) -> None:
    """A shell's `trap '' CHLD` and nohup reach neither us nor the services."""
    one = make({"a": {"command": evil("hang")}})
    script = "trap '' INT HUP TERM CHLD; exec \"$@\""
    started = one.start("up", "-d")
    started.wait(20)
    one.down()
    subprocess.run(
        ["sh", "-c", script, "sh", *one.command("up", "-d")],
        cwd=one.folder, env=one.environ, check=True, timeout=20,
        stdin=subprocess.DEVNULL, capture_output=True,
    )  # fmt: skip
    pid = one.wait_for_state("a", "running")["pid"]
    status = Path(f"/proc/{pid}/status").read_text()
    ignored = int(status.partition("SigIgn:\t")[2].split()[0], 16)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGCHLD):
        assert not ignored & (1 << (number - 1)), number
    assert one.run("stop", "a").code == 0
    assert one.service("a")["cause"]["text"] == "stopped (SIGTERM)"
