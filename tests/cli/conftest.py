"""What the tests of the command line share."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.stack import Stack, stack

Make = Callable[..., Stack]

HANG = [sys.executable, "-S", "-c", "import signal; print('up', flush=True); signal.pause()"]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Make stacks, each in a folder of its own; nothing of them lives after the test."""
    with ExitStack() as block:

        def made(services: dict[str, Any], folder: str = "project", **keys: Any) -> Stack:
            return block.enter_context(stack(tmp_path / folder, services, **keys))

        yield made


@pytest.fixture
def one(make: Make) -> Stack:
    """A stack of one service that goes on, not started yet."""
    return make({"a": {"command": HANG}})


@pytest.fixture(autouse=True)
def _no_terminal_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have nothing of the terminal or the service manager that runs the tests show through."""
    for name in ("INVOCATION_ID", "NO_COLOR", "COLUMNS", "LINES"):
        if name in os.environ:
            monkeypatch.delenv(name)
