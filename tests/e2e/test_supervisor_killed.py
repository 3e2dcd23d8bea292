"""The supervisor killed at any moment of what it does, and what comes after it."""

import contextlib
import json
import os
import random
import signal
import subprocess
import time
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests import oracle
from tests.e2e.conftest import Make
from tests.oracle import RECORD, START
from tests.stack import Stack, evil, is_alive, wait_until

READY = {"command": evil("print", "up", "hang"), "health": {"log": "up"}}
CHAIN: dict[str, Any] = {
    "a": READY,
    "b": READY | {"depends_on": ["a"]},
    "c": READY | {"depends_on": ["b"]},
}
# The moments between two changes cannot be seen from outside.
SPIN_S = 0.003
FEW, MORE = range(2), range(4)


def written_pid(one: Stack) -> int | None:
    """Return the supervisor that lives now, as soon as it has said so."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        pid = int(json.loads((one.state_dir / "stack.lock").read_bytes())["pid"])
        return pid if is_alive(pid) else None
    return None


def changes(one: Stack) -> int:
    """Return how many changes of status were kept."""
    with contextlib.suppress(OSError):
        return (one.runtime_dir / "state.json").read_bytes().count(b"\n")
    return 0


def kill_in_the_midst(
    one: Stack, rng: random.Random, most: int, *words: object, alone: bool = False
) -> None:
    """Run a command, and KILL the supervisor at a moment between its first and last changes.

    ``alone``: the command is killed as well, so that nobody brings it to its end.
    """
    before = written_pid(one)
    kept = changes(one) if before is not None else 0
    count, spin_s = rng.randrange(most + 1), rng.random() * SPIN_S
    with subprocess.Popen(
        one.command(*words),
        cwd=one.folder,
        env=one.environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as command:

        def is_time() -> bool:
            # A command that is over brings no more changes.
            return written_pid(one) is not None and changes(one) - kept >= count

        while not is_time() and command.poll() is None:
            pass
        until = time.monotonic() + spin_s
        while time.monotonic() < until:
            pass
        pid = written_pid(one)
        if alone:
            command.kill()
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            wait_until(lambda: not is_alive(pid), what="the supervisor's end")
        command.wait(20)


def living(one: Stack) -> dict[str, set[tuple[int, int]]]:
    """Return the live processes of each service, with their runs."""
    found: dict[str, set[tuple[int, int]]] = {}
    for pid, cookie in one.cookie_pids().items():
        if is_alive(pid):
            _, name, run = cookie.split("/")
            found.setdefault(name, set()).add((pid, int(run)))
    return found


def runs_begun(one: Stack, name: str) -> list[int]:
    """Return the runs whose start is in the index of the log, as they came."""
    path = one.folder / "logs" / ".index" / name
    data = path.read_bytes() if path.exists() else b""
    whole = data[: len(data) // RECORD.size * RECORD.size]
    return [record[3] for record in RECORD.iter_unpack(whole) if record[4] == START]


def check(one: Stack, name: str) -> dict[str, Any]:
    """Assert that a service has one run, and that every run wrote what it writes just once."""
    item = one.service(name)
    begun = runs_begun(one, name)
    assert begun == sorted(set(begun)), (name, begun)
    assert not begun or begun[-1] <= item["run"], (name, begun, item)
    lives = living(one).get(name, set())
    assert lives == ({(item["pid"], item["run"])} if item["pid"] else set()), (name, lives, item)
    return item


@pytest.mark.parametrize("seed", MORE)
def test_in_the_midst_of_up(make: Make, seed: int) -> None:
    one = make(CHAIN)
    kill_in_the_midst(one, random.Random(seed), 16, "up", "-d")
    left = living(one)
    one.up("--wait")
    oracle.while_up(one)
    for name in CHAIN:
        item = check(one, name)
        assert (item["state"], item["health"]) == ("running", "healthy"), item
        if name in left:
            assert left[name] == {(item["pid"], item["run"])}
        assert one.log(name) == b"up\n" * len(runs_begun(one, name))


@pytest.mark.parametrize("seed", FEW)
@pytest.mark.parametrize("then", ["up", "down"])
def test_in_the_midst_of_restart(make: Make, seed: int, then: str) -> None:
    one = make(CHAIN)
    one.up("--wait")
    before = living(one)
    kill_in_the_midst(one, random.Random(seed), 6, "restart", "b")
    if then == "down":
        one.down()
        assert one.survivors() == set()
        return
    one.up("--wait")
    oracle.while_up(one)
    for name in CHAIN:
        item = check(one, name)
        assert (item["state"], item["health"]) == ("running", "healthy"), item
        if name != "b":
            assert before[name] == {(item["pid"], item["run"])}


@pytest.mark.parametrize("seed", FEW)
def test_in_the_midst_of_stop(make: Make, seed: int) -> None:
    one = make(CHAIN)
    one.up("--wait")
    before = living(one)
    kill_in_the_midst(one, random.Random(seed), 3, "stop", "b")
    one.up()
    item = one.wait_for("b", lambda now: now["state"] in {"running", "stopped"})
    oracle.while_up(one)
    check(one, "b")
    if item["state"] == "running":
        assert before["b"] == {(item["pid"], item["run"])}
    for name in ("a", "c"):
        now = check(one, name)
        assert before[name] == {(now["pid"], now["run"])}


@pytest.mark.parametrize("seed", FEW)
@pytest.mark.parametrize("then", ["up", "down"])
def test_in_the_midst_of_down(make: Make, seed: int, then: str) -> None:
    one = make(CHAIN)
    one.up("--wait")
    kill_in_the_midst(one, random.Random(seed), 8, "down", alone=seed % 2 == 1)
    if then == "down":
        one.down()
        assert one.survivors() == set()
        return
    one.up("--wait")
    oracle.while_up(one)
    for name in CHAIN:
        item = check(one, name)
        assert (item["state"], item["health"]) == ("running", "healthy"), item


CRASHING = {
    "command": evil("print", "up", "exit", 3),
    "restart": {"backoff": {"initial": "10ms", "max": "50ms"}},
}


@pytest.mark.parametrize("seed", FEW)
def test_in_the_midst_of_a_crash_loop(make: Make, seed: int) -> None:
    one = make({"a": CRASHING, "b": READY})
    kill_in_the_midst(one, random.Random(seed), 25, "up", "-d", "--wait")
    one.up()
    one.wait_for_state("a", "failed")
    oracle.while_up(one)
    item = check(one, "a")
    # `up` tries again what had given up already.
    assert item["run"] in {6, 12}
    assert one.log("a") == b"up\n" * len(runs_begun(one, "a"))


def test_in_the_midst_of_a_backoff_its_counters_are_kept(make: Make) -> None:
    backoff = {"initial": "30s", "max": "30s", "jitter": 0}
    one = make({"a": {"command": evil("print", "up", "exit", 3), "restart": {"backoff": backoff}}})
    one.up()
    one.wait_for_state("a", "backoff")
    before = one.service("a")
    one.kill_supervisor()
    one.up()
    after = one.wait_for_state("a", "backoff")
    for key in ("run", "restarts", "exit_code", "cause"):
        assert after[key] == before[key], key
    due = [datetime.fromisoformat(one["next_restart_at"]) for one in (before, after)]
    assert abs(due[1] - due[0]) < timedelta(seconds=5), "its wait would begin anew"


POINTS = ["spawn.before_record", "exit.before_reap", "exit.before_record"]


@pytest.mark.parametrize("point", POINTS)
def test_a_shim_that_dies_at_such_a_place_costs_no_run_and_makes_no_second(
    make: Make, point: str
) -> None:
    one = make(CHAIN)
    one.up("--wait", ORCH_FAILPOINTS=f"{point}=kill")
    oracle.while_up(one)
    if point == "exit.before_record":
        # Only the shims that live now may die there: a new one does what the dead one had to do.
        one.kill_supervisor()
        one.up("--wait")
    os.kill(check(one, "b")["pid"], signal.SIGKILL)
    again = one.wait_for("b", lambda now: now["run"] == 2 and now["health"] == "healthy")
    assert (again["restarts"], again["signal"]) == (1, "KILL")
    one.kill_supervisor()
    one.up("--wait")
    assert check(one, "b")["pid"] == again["pid"]
    assert one.run("restart", "c").code == 0
    one.wait_for("c", lambda now: now["run"] == 2 and now["health"] == "healthy")
    oracle.while_up(one)
    for name, runs in (("a", 1), ("b", 2), ("c", 2)):
        check(one, name)
        assert one.log(name) == b"up\n" * runs
    one.down()
    assert one.survivors() == set()
