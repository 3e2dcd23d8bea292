"""Starts a program so that nothing of ours shows in it, and says exactly why when it can't."""

from __future__ import annotations

import errno
import os
import resource

from orchestrator.shim import signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

PERMANENT = frozenset(
    {
        errno.ENOENT,
        errno.EACCES,
        errno.ENOEXEC,
        errno.ENOTDIR,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.EPERM,
        errno.E2BIG,
        errno.EINVAL,
        errno.EISDIR,
    }
)


class Refused(Exception):
    """The program can't be started; ``permanent`` when trying again changes nothing."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(text)
        self.errno = number
        self.text = text
        self.permanent = number in PERMANENT


class Launch:
    """What to start: complete environment, and what stands on the first descriptors."""

    def __init__(
        self,
        argv: list[str],
        env: dict[str, str],
        cwd: str,
        *,
        umask: int | None = None,
        nofile: tuple[int, int] | None = None,
    ) -> None:
        if not argv:
            raise Refused(errno.EINVAL, "cannot start: the command is empty")
        self.argv = argv
        self.env = env
        self.cwd = cwd
        self.umask = umask
        self.nofile = nofile
        # (number in the service, path, flags)
        self.files: list[tuple[int, str, int]] = [(0, "/dev/null", os.O_RDONLY)]


def holder_number(soft_limit: int) -> int | None:
    """Return the descriptor on which a service holds its own output's reading end.

    High, so that no program minds, but below 1000 and its limit; not 200 and 255, which shell
    scripts and bash itself use. None when the limit leaves no room.
    """
    limit = 1000 if soft_limit == resource.RLIM_INFINITY else min(1000, soft_limit)
    number = limit - 1
    if number in (200, 255):
        number -= 1
    return number if number > 2 else None


def start(launch: Launch, *, by_spawn: bool, own_fsize: tuple[int, int] | None = None) -> int:
    """Start the program in its own session and return its pid.

    Every signal is at its default and none is blocked; limits, folder and mask are the service's.
    The caller must be single-threaded: its own are changed for the moment. Raises Refused.
    """
    lowers_hard = (
        launch.nofile is not None
        and launch.nofile[1] != resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    )
    try:
        os.chdir(launch.cwd)
    except OSError as error:
        raise _no_folder(launch, error) from error
    old_umask = os.umask(launch.umask) if launch.umask is not None else None
    try:
        program = find_program(launch.argv[0], launch.env)
        if by_spawn and not lowers_hard:
            return _spawn(program, launch, own_fsize)
        return _fork(program, launch, own_fsize)
    finally:
        if old_umask is not None:
            os.umask(old_umask)
        os.chdir("/")


def find_program(name: str, env: dict[str, str]) -> str:
    """Return a program's path as the service, in its folder, would find it. Raises Refused."""
    if "/" in name:
        _check_program(name, name)
        return name
    path = env.get("PATH", os.defpath)
    denied: Refused | None = None
    for folder in path.split(":"):
        candidate = f"{folder or '.'}/{name}"
        try:
            _check_program(name, candidate)
        except Refused as refused:
            if refused.errno == errno.EACCES:
                denied = denied or refused
            continue
        return candidate
    if denied is not None:
        raise denied
    raise Refused(
        errno.ENOENT, f"cannot start {name!r}: no such file or directory; searched PATH={path}"
    )


def _check_program(name: str, candidate: str) -> None:
    try:
        stat = os.stat(candidate)
    except OSError as error:
        raise _refused(name, error) from error
    except ValueError as error:
        raise Refused(errno.EINVAL, f"cannot start {name!r}: {error}") from error
    if stat.st_mode & 0o170000 == 0o040000:
        raise Refused(errno.EACCES, f"cannot start {name!r}: {candidate} is a folder")
    if not os.access(candidate, os.X_OK):
        raise Refused(
            errno.EACCES, f"cannot start {name!r}: permission denied; {candidate} is not executable"
        )


def _spawn(program: str, launch: Launch, own_fsize: tuple[int, int] | None) -> int:
    actions = [(os.POSIX_SPAWN_OPEN, fd, path, flags, 0) for fd, path, flags in launch.files]
    own_nofile = resource.getrlimit(resource.RLIMIT_NOFILE)
    current_fsize = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        if launch.nofile is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (launch.nofile[0], own_nofile[1]))
        if own_fsize is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, own_fsize)
        return os.posix_spawn(
            program,
            launch.argv,
            launch.env,
            file_actions=actions,
            setsid=True,
            setsigmask=[],
            setsigdef=signals.CATCHABLE,
        )
    except OSError as error:
        raise _explained(program, launch, error.errno or 0) from error
    except ValueError as error:
        raise Refused(errno.EINVAL, f"cannot start {launch.argv[0]!r}: {error}") from error
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, own_nofile)
        resource.setrlimit(resource.RLIMIT_FSIZE, current_fsize)


def _fork(program: str, launch: Launch, own_fsize: tuple[int, int] | None) -> int:
    """Do the same by fork and exec; the errno of what failed comes back through a pipe."""
    reader, writer = os.pipe()
    try:
        pid = os.fork()
    except OSError as error:
        os.close(reader)
        os.close(writer)
        raise _explained(program, launch, error.errno or 0) from error
    if pid == 0:
        _become(program, launch, own_fsize, writer)
    os.close(writer)
    answer = os.read(reader, 16)
    os.close(reader)
    if answer:
        os.waitpid(pid, 0)
        raise _explained(program, launch, int(answer))
    return pid


def _become(
    program: str, launch: Launch, own_fsize: tuple[int, int] | None, writer: int
) -> NoReturn:
    failed = errno.EINVAL
    try:
        os.setsid()
        for number in signals.CATCHABLE:
            signals.set_action(number, signals.SIG_DFL)
        signals.unblock_all()
        for fd, path, flags in launch.files:
            opened = os.open(path, flags)
            os.dup2(opened, fd, inheritable=True)
            if opened != fd:
                os.close(opened)
        if own_fsize is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, own_fsize)
        if launch.nofile is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, launch.nofile)
        os.execve(program, launch.argv, launch.env)  # noqa: S606 that is what we are for
    except OSError as error:
        failed = error.errno or errno.EINVAL
    except (ValueError, TypeError):
        pass
    finally:
        os.write(writer, str(failed).encode())
        os._exit(127)


def _no_folder(launch: Launch, error: OSError) -> Refused:
    reason = (
        "is not there" if error.errno == errno.ENOENT else f"can't be entered: {_reason(error)}"
    )
    return Refused(
        error.errno or 0, f"cannot start {launch.argv[0]!r}: its folder {launch.cwd!r} {reason}"
    )


def _explained(program: str, launch: Launch, number: int) -> Refused:
    """Say what an errno of the start means, for people. The program itself was there before."""
    name = launch.argv[0]
    if number == errno.ENOENT and os.path.exists(program):
        interpreter = _interpreter(program)
        what = f"its interpreter {interpreter!r}" if interpreter else "its loader"
        return Refused(number, f"cannot start {name!r}: {what} is not there")
    if number == errno.ENOEXEC:
        hint = "not a program; a script needs '#!' and its interpreter in the first line"
        return Refused(number, f"cannot start {name!r}: {hint}")
    if number == errno.EACCES and (interpreter := _interpreter(program)):
        return Refused(number, f"cannot start {name!r}: not allowed to run it by {interpreter!r}")
    return Refused(number, f"cannot start {name!r}: {os.strerror(number).lower()}")


def _interpreter(program: str) -> str | None:
    try:
        fd = os.open(program, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        first = os.read(fd, 256).partition(b"\n")[0]
        os.close(fd)
    except OSError:
        return None
    words = first[2:].split() if first.startswith(b"#!") else []
    return os.fsdecode(words[0]) if words else None


def _refused(name: str, error: OSError) -> Refused:
    return Refused(error.errno or 0, f"cannot start {name!r}: {_reason(error)}")


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def launch_of(order: dict[str, Any]) -> Launch:
    """Read a Launch from an order. Raises KeyError, TypeError or ValueError when malformed."""
    nofile = order.get("nofile")
    return Launch(
        [str(word) for word in order["argv"]],
        {str(name): str(value) for name, value in order["env"].items()},
        str(order["cwd"]),
        umask=order.get("umask"),
        nofile=(int(nofile[0]), int(nofile[1])) if nofile else None,
    )
