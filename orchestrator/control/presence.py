"""The control socket stays where clients look for it."""

import logging
import os
import socket
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import anyio

from orchestrator.control.server import bind
from orchestrator.core.ports import Clock

logger = logging.getLogger(__name__)

_LOOK_S = 30.0


async def serve_at(
    path: Path,
    server: socket.socket,
    serve: Callable[[socket.socket], Coroutine[Any, Any, None]],
    clock: Clock,
) -> None:
    """Serve on a socket that was bound at ``path``, until cancelled.

    Cleaners of temporary files sweep sockets away, and a logout the whole runtime folder: then it
    is bound anew. Who is connected already is served on.
    """
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serve, server)
        bound = _identity(path)
        while True:
            await clock.sleep(_LOOK_S)
            if bound is not None and _identity(path) == bound:
                _touch(path)
                continue
            try:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                server = bind(path)
            except OSError as error:
                logger.warning("%s is gone and cannot be bound: %s", path, error.strerror)
                continue
            logger.warning("%s was gone; it is bound again", path)
            bound = _identity(path)
            tasks.start_soon(serve, server)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _touch(path: Path) -> None:
    """Make it young: cleaners take what nobody has used for days."""
    for one in (path, path.parent):
        try:
            os.utime(one)
        except OSError as error:
            logger.warning("cannot touch %s: %s", one, error.strerror)
