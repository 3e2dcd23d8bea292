"""How long a person waits for `ps` and `--version`, against `supervisorctl status`."""

import contextlib
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.common import Table, bounded, program, stack, summary, timed, wait_all_running
from tests.stack import wait_until

TURNS = 15
COUNT = 10
SLEEP = "/bin/sleep 100000"


def found(name: str) -> str | None:
    """Return a program beside this Python, else on PATH."""
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.exists() else shutil.which(name)


@contextlib.contextmanager
def supervisord(folder: Path) -> Iterator[list[str]]:
    """Run supervisord with as many programs; yield the command that asks for their status."""
    conf = folder / "supervisord.conf"
    programs = "".join(f"[program:s{n}]\ncommand={SLEEP}\n" for n in range(COUNT))
    conf.write_text(
        f"[unix_http_server]\nfile={folder}/sock\n"
        f"[supervisord]\nnodaemon=true\nlogfile={folder}/log\npidfile={folder}/pid\n"
        f"childlogdir={folder}\n"
        "[rpcinterface:supervisor]\n"
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"
        f"[supervisorctl]\nserverurl=unix://{folder}/sock\n{programs}"
    )
    process = subprocess.Popen(
        [found("supervisord") or "supervisord", "-c", str(conf)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        status = [found("supervisorctl") or "supervisorctl", "-c", str(conf), "status"]
        wait_until(lambda: _all_run(status), 20, "supervisord's programs")
        yield status
    finally:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(15)
        process.kill()
        process.wait()


def _all_run(status: list[str]) -> bool:
    done = subprocess.run(status, capture_output=True, text=True, check=False)
    return done.stdout.count("RUNNING") == COUNT


def measure(commands: dict[str, list[str]], keys: dict[str, Any]) -> dict[str, list[float]]:
    """Time the commands in turns, so that what else the machine does is shared fairly."""
    took: dict[str, list[float]] = {name: [] for name in commands}
    for command in commands.values():
        timed(command, **keys)
    for _ in range(TURNS):
        for name, command in commands.items():
            took[name].append(timed(command, **keys))
    return took


def main() -> int:
    """Run the benchmark."""
    table = Table(f"Answers on the command line, {COUNT} services")
    services = {f"s{n}": {"command": SLEEP} for n in range(COUNT)}
    commands = {
        "python -c ''": [sys.executable, "-c", ""],
        "orchestrator --version": [*program(), "--version"],
        "orchestrator ps": [*program(), "ps"],
        "orchestrator logs -n 10": [*program(), "logs", "-n", "10"],
    }
    with bounded(120), stack(services) as made, contextlib.ExitStack() as others:
        made.up()
        wait_all_running(made, COUNT)
        if found("supervisorctl") is not None:
            commands["supervisorctl status"] = others.enter_context(supervisord(made.folder))
        took = measure(commands, {"cwd": made.folder, "env": made.environ})
    for name, seconds in took.items():
        median, high = summary(seconds)
        table.row(f"{name}, median", median * 1000, "ms")
        table.row(f"{name}, 90th percentile", high * 1000, "ms")
    if "supervisorctl status" in took:
        ratio = summary(took["orchestrator ps"])[0] / summary(took["supervisorctl status"])[0]
        table.row("ps against supervisorctl status", ratio, "x", most=1)
    else:
        table.note("supervisorctl is not installed here (pip install supervisor): not compared")
    return table.end()


if __name__ == "__main__":
    sys.exit(main())
