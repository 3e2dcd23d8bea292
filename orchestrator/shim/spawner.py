"""The spawner: imports the shim once, forks one a request, holds nothing, ends with its socket."""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import sys

from orchestrator.shim import main as shim
from orchestrator.shim import runner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    Json = dict[str, Any]

REQUEST_LIMIT_BYTES = 1 << 17
PANIC_NAME = "panic"


def main(fd: int) -> int:
    """Serve requests on descriptor ``fd``, a SOCK_SEQPACKET socket, until it is closed.

    A request is one message, JSON with one descriptor; its answer one message, in order.
    """
    # Nobody waits for shims here. The shim sets SIGCHLD back: ignored, exit codes are lost.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    requests = socket.socket(fileno=fd)
    requests.set_inheritable(False)
    gc.collect()
    gc.freeze()
    while True:
        try:
            text, fds, _, _ = socket.recv_fds(requests, REQUEST_LIMIT_BYTES, 1)
        except OSError:
            return 0
        if not text:
            return 0
        requests.send(json.dumps(_answer(text, fds)).encode())


def _answer(text: bytes, fds: list[int]) -> Json:
    try:
        request = json.loads(text)
        serve = {"shim": shim.run, "exec": runner.run}[request["op"]]
        return {"pid": _fork(serve, request, fds[0])}
    except OSError as error:
        return {"error": f"cannot fork: {error.strerror}", "errno": error.errno}
    except (ValueError, KeyError, TypeError, IndexError) as error:
        return {"error": f"cannot understand this: {error!r:.200}", "errno": 0}
    finally:
        for fd in fds:
            os.close(fd)


def _fork(serve: Callable[[Json, socket.socket], int], request: Json, fd: int) -> int:
    pid = os.fork()
    if pid == 0:
        _be(serve, request, fd)
    return pid


def _be(serve: Callable[[Json, socket.socket], int], request: Json, fd: int) -> NoReturn:
    code = 70
    try:
        connection = socket.socket(fileno=fd)
        connection.set_inheritable(False)
        code = serve(request, connection)
    except BaseException:  # noqa: BLE001 the outer guard of a process
        _leave_word(request)
    finally:
        os._exit(code)


def _leave_word(request: Json) -> None:
    """Write down why a shim died; it has no stderr that anybody would see."""
    import traceback

    folder = request.get("service_dir")
    if not folder:
        return
    with open(os.path.join(folder, PANIC_NAME), "w", encoding="utf-8") as file:
        file.write(traceback.format_exc())


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
