"""`up` and `down` at the same time: the later word counts."""

from tests.e2e.conftest import Make
from tests.processes import lock_owner
from tests.stack import evil, wait_until

HANG = {"command": evil("print", "up", "hang")}
STUBBORN = {"command": evil("ignterm", "print", "up", "hang"), "stop": {"grace": "1s"}}


def test_an_up_in_the_midst_of_a_down_starts_all_when_it_is_down(make: Make) -> None:
    one = make({"a": STUBBORN, "b": HANG | {"depends_on": ["a"]}})
    one.up()
    one.wait_for_log("a", b"up")
    first = one.supervisor_pid
    down = one.start("down")
    one.wait_for_state("a", "stopping")
    ran = one.up("--wait")
    assert "is being stopped" in ran.err
    assert down.wait(10) == 0
    assert one.supervisor_pid != first
    for name in ("a", "b"):
        item = one.service(name)
        assert (item["state"], item["run"]) == ("running", 2)
        assert {pid for pid, cookie in one.cookie_pids().items() if f"/{name}/" in cookie} == {
            item["pid"]
        }


def test_several_ups_in_the_midst_of_a_down_start_all_once(make: Make) -> None:
    one = make({"a": STUBBORN})
    one.up()
    one.wait_for_log("a", b"up")
    one.start("down")
    one.wait_for_state("a", "stopping")
    ups = [one.start("up", "-d") for _ in range(3)]
    assert [up.wait(20) for up in ups] == [0, 0, 0]
    one.wait_for("a", lambda item: (item["state"], item["run"]) == ("running", 2))


def test_a_down_that_meets_an_up_in_its_first_moments_ends_what_that_starts(make: Make) -> None:
    one = make({"a": HANG, "b": HANG | {"depends_on": ["a"]}})
    up = one.start("up", "-d")
    wait_until(lambda: lock_owner(one.state_dir / "stack.lock"), what="the lock of the stack")
    ran = one.run("down")
    assert ran.code == 0, ran
    assert "nothing is running" not in ran.err
    up.wait(10)
    assert one.survivors() == set()
