"""Limits of the shell in which `up` is typed."""

import json
import resource
import subprocess

from tests.e2e.conftest import Make
from tests.stack import evil, wait_until


def test_services_and_probes_have_the_limit_of_up_and_the_supervisor_all_it_may_have(
    make: Make,
) -> None:
    probe = ["sh", "-c", "ulimit -S -n > limit.new && mv limit.new limit"]
    one = make({"a": {"command": evil("self", "hang"), "health": {"exec": probe}}})
    limited = ["sh", "-c", 'ulimit -S -n 300 && exec "$@"', "sh", *one.command("up", "-d")]
    subprocess.run(limited, cwd=one.folder, env=one.environ, check=True, capture_output=True)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    one.wait_for_log("a", b"}\n")
    assert json.loads(one.log("a"))["nofile"] == [300, hard]
    wait_until((one.folder / "limit").exists)
    assert (one.folder / "limit").read_text() == "300\n"
    assert resource.prlimit(one.supervisor_pid, resource.RLIMIT_NOFILE) == (hard, hard)
