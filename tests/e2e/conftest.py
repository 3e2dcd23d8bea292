"""What the end-to-end tests share."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.stack import Stack, stack

Make = Callable[..., Stack]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Make stacks, each in a folder of its own; nothing of them lives after the test."""
    with ExitStack() as block:

        def made(services: dict[str, Any], folder: str = "project", **keys: Any) -> Stack:
            return block.enter_context(stack(tmp_path / folder, services, **keys))

        yield made
