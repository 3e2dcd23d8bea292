"""`down` in every condition of the supervisor, `ps`, `status`, `ls`, `doctor`, `config`."""

import json
import os
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

from tests.cli.conftest import HANG, Make
from tests.stack import Stack, evil, free_port, is_alive, wait_until

STUBBORN = {"command": evil("ignterm", "print", "up", "hang"), "stop": {"grace": "30s"}}


def test_down_of_nothing_says_so_and_is_no_failure(one: Stack) -> None:
    ran = one.run("down")
    assert (ran.code, ran.err) == (0, "nothing is running\n")


def test_after_down_the_supervisor_has_ended_as_well(one: Stack) -> None:
    one.up()
    supervisor = one.supervisor_pid
    one.down()
    assert not is_alive(supervisor)
    assert not (one.runtime_dir / "control.sock").exists()


def test_down_says_what_it_still_waits_for(make: Make) -> None:
    one = make({"slow": STUBBORN | {"stop": {"grace": "3s"}}, "quick": {"command": HANG}})
    one.up()
    one.wait_for_log("slow", b"up")
    ran = one.down()
    assert "still waiting for slow (2 s)" in ran.err


def test_one_grace_for_all_can_be_given(make: Make) -> None:
    one = make({"slow": STUBBORN})
    one.up()
    one.wait_for_log("slow", b"up")
    began = time.monotonic()
    one.down("-t", "200ms")
    assert time.monotonic() - began < 10
    assert one.survivors() == set()


def test_downs_at_once_all_end_well(make: Make) -> None:
    one = make({f"s{number}": {"command": HANG} for number in range(4)})
    one.up()
    with ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(lambda _: one.run("down"), range(5)))
    assert [ran.code for ran in answers] == [0] * 5, answers
    assert one.survivors() == set()


def test_down_goes_on_when_the_supervisor_is_killed_meanwhile(make: Make) -> None:
    one = make({"slow": STUBBORN | {"stop": {"grace": "2s"}}})
    one.up()
    one.wait_for_log("slow", b"up")
    supervisor = one.supervisor_pid
    started = one.start("down", stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    one.wait_for_state("slow", "stopping")
    os.kill(supervisor, signal.SIGKILL)
    assert started.stdout is not None
    with started.stdout:
        assert started.wait(20) == 0
        assert b"the supervisor is gone" in started.stdout.read()
    wait_until(lambda: one.survivors() == set())


def test_a_hung_supervisor_is_named_with_what_to_do_and_nothing_is_stopped(one: Stack) -> None:
    one.up()
    supervisor, service = one.supervisor_pid, one.wait_for_state("a", "running")["pid"]
    os.kill(supervisor, signal.SIGSTOP)
    try:
        # Each waits for seconds before it gives up: all at once.
        commands = (["down"], ["up", "-d"], ["status"], ["restart", "a"])
        with ThreadPoolExecutor() as at_once:
            for ran in at_once.map(lambda words: one.run(*words), commands):
                assert ran.code == 4, ran
                assert f"kill -9 {supervisor}" in ran.err
        assert is_alive(service)
        os.kill(supervisor, signal.SIGKILL)  # as the message says
    finally:
        os.kill(supervisor, signal.SIGCONT) if is_alive(supervisor) else None
    wait_until(lambda: not is_alive(supervisor))
    one.up()
    assert one.service("a")["pid"] == service


def test_without_a_supervisor_every_question_names_the_ways_out(one: Stack) -> None:
    one.up()
    one.wait_for_state("a", "running")
    one.kill_supervisor()
    for command in (["ps"], ["status"], ["stop", "a"], ["wait"]):
        ran = one.run(*command)
        assert ran.code == 4, (command, ran)
        for words in ("a; ", "`orchestrator up`", "`orchestrator down`"):
            assert words in ran.err
    assert "no supervisor" in one.run("ls").out


def test_a_swept_runtime_folder_is_told_apart_from_a_running_stack(one: Stack) -> None:
    one.up()
    one.down()
    for path in one.runtime_dir.glob("*"):
        path.unlink() if not path.is_dir() else None
    assert one.run("ps").code == 7


# ps, status, ls.


def test_ps_leaves_out_what_ended_well_or_was_stopped_by_hand_unless_asked(make: Make) -> None:
    one = make(
        {
            "a": {"command": HANG},
            "job": {"command": ["true"], "oneshot": True},
            "halted": {"command": HANG},
            "bad": {"command": ["false"], "restart": "no"},
        }
    )
    one.up()
    one.wait_for_state("job", "completed")
    one.wait_for_state("bad", "failed")
    one.run("stop", "halted")
    assert one.run("ps", "-q").out.split() == ["a", "bad"]
    assert one.run("ps", "-a", "-q").out.split() == ["a", "job", "halted", "bad"]
    assert one.run("ps", "-q", "halted", "j*").out.split() == ["job", "halted"]
    table = one.run("ps").out.splitlines()
    assert table[1].startswith("bad ")
    assert table[2].startswith("  └ exit code 1")
    assert one.run("ps", "nobody").code == 4


def test_ps_follows_as_json_lines_until_the_stack_is_down(one: Stack) -> None:
    one.up()
    one.wait_for_state("a", "running")
    started = one.start("ps", "-f", "--format", "json", stdout=subprocess.PIPE)
    assert started.stdout is not None
    with started.stdout as out:
        assert json.loads(out.readline())["state"] == "running"
        one.run("restart", "a")
        one.down()
        assert started.wait(10) == 0
        states = [json.loads(line)["state"] for line in out]
    assert states[0] == "stopping"
    assert "running" in states
    assert states[-1] == "stopped"


def test_status_is_for_scripts(make: Make) -> None:
    one = make({"a": {"command": HANG}, "job": {"command": ["true"], "oneshot": True}})
    assert one.run("status").code == 3
    one.up()
    one.run("wait")
    one.wait_for_state("job", "completed")
    assert one.run("status").code == 0
    one.run("stop", "a")
    assert one.run("status").code == 3
    assert one.run("status", "job").code == 0
    one.down()
    assert one.run("status").code == 3


def test_ls_lists_what_runs_first(make: Make) -> None:
    one = make({"a": {"command": HANG}})
    assert one.run("ls").code == 0
    one.up()
    listed = json.loads(one.run("ls", "--format", "json").out)
    assert listed["schema"] == 1
    (row,) = listed["stacks"]
    assert (row["stack"], row["state"], row["file"]) == ("tested", "running", str(one.file))
    one.down()
    assert "down" in one.run("ls").out


# config, doctor.


def test_config_prints_what_was_understood_and_checks_quietly(one: Stack) -> None:
    ran = one.run("config")
    assert ran.code == 0
    assert "grace: 10s" in ran.out
    assert one.run("config", "-q").out == ""
    assert json.loads(one.run("config", "--format", "json").out)["name"] == "tested"
    assert json.loads(one.run("config", "schema").out)["type"] == "object"
    one.file.write_text("services: {a: {comand: x}}")
    ran = one.run("config", "-q")
    assert ran.code == 6
    assert ran.err.startswith("services.yaml:1:")


def test_what_config_prints_is_the_same_stack_again(one: Stack) -> None:
    printed = one.run("config").out
    one.file.write_text(printed)
    assert one.run("config").out == printed


def test_publishing_once_more_needs_a_running_stack(one: Stack) -> None:
    assert one.run("config", "publish").code == 7
    one.up()
    assert one.run("config", "publish").out == "nothing is ready to be published\n"


def test_doctor_finds_a_taken_port_and_a_missing_program(make: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        one = make({"web": {"command": HANG, "port": port}, "odd": {"command": "no-such-program"}})
        ran = one.run("doctor")
        assert ran.code == 1
        assert f"port {port} is in use: pid {os.getpid()}" in ran.out
        assert "no-such-program" in ran.out
    checks = json.loads(one.run("doctor", "--format", "json").out)["checks"]
    assert {"name", "ok", "text", "fix", "note"} <= checks[0].keys()


def test_doctor_is_content_with_a_stack_that_runs_well(make: Make) -> None:
    port = free_port()
    one = make({"web": {"command": evil("http_ok", port, "hang"), "port": port}})
    one.up()
    ran = one.run("doctor")
    assert ran.code == 0, ran
