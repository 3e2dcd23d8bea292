"""Files as they come in real life, and other programs that write them at the same time."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orchestrator.discovery.publish import Entry

SCHEDULER = Entry("Scheduler", "http://localhost:5146/mcp", "orchestrator", "s3cret-key")

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts, other users")


def config_in(folder: Path) -> Path:
    """Make a config.json in a folder of its own, with foreign things in it."""
    path = folder / "config" / "config.json"
    path.parent.mkdir()
    path.write_bytes(b'{\n    "logging": {"level": 1e0},\n    "mcp": {}\n}\n')
    path.chmod(0o600)
    return path


@contextmanager
def mounted(*arguments: str, at: Path) -> Iterator[None]:
    """Mount as the arguments of mount(8) say; skips the test where that is not permitted."""
    command = ["mount", *arguments, str(at)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        pytest.skip(f"mount is not permitted here: {result.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(at)], check=True)


def remount(*arguments: str, at: Path) -> None:
    """Change the options of a mount."""
    subprocess.run(["mount", *arguments, str(at)], check=True)


@contextmanager
def running(code: str, *arguments: object) -> Iterator[subprocess.Popen[bytes]]:
    """Run Python code as a process of its own, and kill it at the end if it still runs."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def beside(path: Path) -> list[str]:
    """The names in the folder of ``path``, less itself and its lock."""
    names = {entry.name for entry in path.parent.iterdir()}
    return sorted(names - {path.name, f".{path.name}.lock"})
