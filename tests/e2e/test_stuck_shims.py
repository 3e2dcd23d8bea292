"""Shims and spawners that are stopped at the worst moment, and go on later."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.conftest import Make
from tests.processes import children_of
from tests.stack import Stack, evil, is_alive, wait_until


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Hold a process inside the block."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def spawner_of(one: Stack) -> int:
    """Return the child of the supervisor that is no shim."""
    found = {stat.pid for stat in children_of([one.supervisor_pid])} - one.shim_pids().keys()
    return found.pop()


def in_background(one: Stack, *words: str) -> subprocess.Popen[bytes]:
    quiet = subprocess.DEVNULL
    return subprocess.Popen(
        one.command(*words), cwd=one.folder, env=one.environ, stdin=quiet, stdout=quiet
    )


@contextmanager
def taken_over_without_its_shim(one: Stack) -> Iterator[None]:
    """Have a new supervisor take over while the only shim is stopped, inside the block."""
    supervisor = one.supervisor_pid
    with stopped(next(iter(wait_until(one.shim_pids)))):
        os.kill(supervisor, signal.SIGKILL)
        wait_until(lambda: not is_alive(supervisor))
        one.up()
        one.wait_for("a", lambda now: now["note"], within_s=10)
        yield


def test_a_service_whose_shim_is_held_at_the_take_over_is_not_lost(make: Make) -> None:
    one = make({"a": {"command": evil("print", "started", "hang")}})
    one.up()
    pid = one.wait_for_state("a", "running")["pid"]
    with taken_over_without_its_shim(one):
        found = one.service("a")
        assert "does not answer" in found["note"]
        assert (found["state"], found["pid"], found["run"]) == ("running", pid, 1)
    one.wait_for("a", lambda now: now["note"] is None, within_s=10)
    assert one.run("restart", "a").code == 0
    assert one.service("a")["run"] == 2
    assert not is_alive(pid)
    one.wait_for_log("a", b"started\nstarted\n")


def test_its_end_meanwhile_is_seen_when_the_shim_goes_on(make: Make) -> None:
    one = make({"a": {"command": evil("print", "started", "hang"), "restart": "no"}})
    one.up()
    pid = one.wait_for_state("a", "running")["pid"]
    with taken_over_without_its_shim(one):
        os.kill(pid, signal.SIGKILL)
    ended = one.wait_for("a", lambda now: now["pid"] is None, within_s=10)
    assert (ended["run"], ended["signal"]) == (1, "KILL")


@pytest.mark.parametrize("killed", [[], ["supervisor"]])
def test_down_has_a_stopped_shim_go_on_and_ends_it(make: Make, killed: list[str]) -> None:
    one = make({"a": {"command": evil("hang")}, "b": {"command": evil("hang")}})
    one.up()
    one.wait_for_state("b", "running")
    one.run("stop", "b")
    shims = list(one.shim_pids())
    for pid in shims:
        os.kill(pid, signal.SIGSTOP)
    if killed:
        one.kill_supervisor()
    assert one.run("down").code == 0
    assert not any(is_alive(pid) for pid in shims)
    assert one.survivors() == set()


def test_what_is_stopped_before_its_shim_is_there_is_never_started(make: Make) -> None:
    one = make({"a": {"command": evil("print", "started", "hang")}, "b": {"command": evil("hang")}})
    one.up()
    one.wait_for_log("a", b"started\n")
    assert one.run("stop", "a").code == 0
    shim = next(pid for pid, name in one.shim_pids().items() if name == "a")
    os.kill(shim, signal.SIGKILL)
    wait_until(lambda: not is_alive(shim))
    with stopped(spawner_of(one)):
        start = in_background(one, "start", "a")
        one.wait_for_state("a", "starting")
        stop = in_background(one, "stop", "a")
        one.wait_for_state("a", "stopping")
    assert stop.wait(10) == 0
    start.wait(10)
    assert one.service("a")["state"] == "stopped"
    assert one.log("a") == b"started\n"
