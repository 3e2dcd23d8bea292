"""`doctor`: whether this machine has what the stack needs, and what to do where it has not."""

import json
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from orchestrator.cli.daemon import switched_off
from orchestrator.cli.stack import Options, Stack, load_project, locate, options_of
from orchestrator.errors import NotRunning, OrchestratorError
from orchestrator.system import ports
from orchestrator.system.capabilities import active_tiers, try_log_folder, try_runtime_folder

_PYTHON = (3, 11)
_DOTNET_S = 20.0


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at: ok, or what is wrong; a note needs nobody to do anything."""

    name: str
    ok: bool
    text: str
    fix: str | None = None
    note: bool = False


@click.command(name="doctor")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table")
@click.pass_context
def command(context: click.Context, *, form: str) -> int:
    """Check Python, the file, its programs and ports, the folders, and this system.

    Exit code 1: a check failed.
    """
    checks = list(_checks(context, options_of(context)))
    if form == "json":
        content = {"schema": 1, "checks": [asdict(check) for check in checks]}
        click.echo(json.dumps(content, ensure_ascii=False))
    else:
        for check in checks:
            mark = "✓" if check.ok else "·" if check.note else "✗"
            click.echo(f"{mark} {check.name:<18} {check.text}")
            if check.fix and not check.ok:
                click.echo(f"    {check.fix}")
    return 0 if all(check.ok or check.note for check in checks) else 1


def _checks(context: click.Context, options: Options) -> Iterator[Check]:
    version = platform.python_version()
    yield Check("python", sys.version_info >= _PYTHON, f"{version} at {sys.executable}")
    for tier in active_tiers(switched_off(options.environ)):
        text = "fast path" if tier.fast else f"not to be had, or switched off: {tier.instead}"
        yield Check(tier.name, tier.fast, text, note=True)
    yield from _dotnet(options.environ)
    try:
        stack = locate(context)
    except OrchestratorError as error:
        yield Check("services.yaml", ok=False, text=error.message, note=True)
        return
    yield from _folders(stack)
    yield from _file(stack, options)


def _folders(stack: Stack) -> Iterator[Check]:
    try:
        stack.ensure()
    except OrchestratorError as error:
        yield Check("folders", ok=False, text=error.message)
        return
    for trial in try_runtime_folder(stack.runtime_dir):
        text = trial.problem or f"works in {stack.runtime_dir}"
        fix = "set XDG_RUNTIME_DIR to a folder on a local file system"
        yield Check(trial.what, trial.problem is None, text, fix)
    logs = stack.root_dir / "logs"
    if logs.is_dir():
        for trial in try_log_folder(logs):
            text = trial.problem or f"works in {logs}"
            yield Check(trial.what, trial.problem is None, text, note=True)


def _file(stack: Stack, options: Options) -> Iterator[Check]:
    from orchestrator.system.requirements import choose

    try:
        project = load_project(stack, options.environ, options.env_file)
    except OrchestratorError as error:
        yield Check("services.yaml", ok=False, text=error.message)
        return
    yield Check("services.yaml", ok=True, text=f"{len(project.services)} services")
    running = _is_running(stack)
    for name, service in project.services.items():
        try:
            chosen = choose(project, service, options.environ)
        except OrchestratorError as error:
            yield Check(name, ok=False, text=error.message)
            continue
        for index, why in chosen.skipped:
            yield Check(
                name, ok=False, text=f"alternative {index} is passed over: {why}", note=True
            )
        program = str(service.run[chosen.index].command[0])
        if "$" not in program and "/" not in program:
            path = options.environ.get("PATH")
            found = shutil.which(program, path=path)
            yield Check(name, found is not None, found or f"{program!r} is not on PATH")
        if isinstance(service.port, int) and not running:
            held = ports.holder(service.port, set)
            text = f"port {service.port} is free"
            if held is not None:
                text = f"port {service.port} is in use: {ports.describe(held)}"
            yield Check(name, held is None, text, "give it another `port`, or `port: auto`")


def _is_running(stack: Stack) -> bool:
    try:
        stack.client.stack()
    except NotRunning:
        return False
    except OrchestratorError:
        return True
    return True


def _dotnet(environ: Mapping[str, str]) -> Iterator[Check]:
    """Tell which .NET runtimes are there; none is no fault, the embedded scheduler stands in."""
    root = environ.get("DOTNET_ROOT")
    program = shutil.which("dotnet", path=environ.get("PATH"))
    if program is None and root is not None:
        program = shutil.which("dotnet", path=root)
    if program is None:
        text = "not on PATH nor in DOTNET_ROOT; the embedded scheduler stands in"
        yield Check("dotnet", ok=False, text=text, note=True)
        return
    runtimes = _runtimes(program)
    yield Check("dotnet", bool(runtimes), f"{program}: {', '.join(runtimes) or 'no runtime'}")
    dll = environ.get("SCHEDULER_DLL")
    if dll:
        yield from _runtime_of(Path(dll), runtimes)


def _runtimes(program: str) -> list[str]:
    try:
        listed = subprocess.run(  # noqa: S603  the program that was found
            [program, "--list-runtimes"],
            capture_output=True,
            text=True,
            timeout=_DOTNET_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return re.findall(r"^(\S+ \S+) \[", listed.stdout, re.MULTILINE)


def _runtime_of(dll: Path, runtimes: list[str]) -> Iterator[Check]:
    """Compare what a dll asks for with what is there. Source: .NET's <app>.runtimeconfig.json."""
    if not dll.is_file():
        yield Check("SCHEDULER_DLL", ok=False, text=f"there is no file {dll}", fix="build it first")
        return
    path = dll.with_name(f"{dll.stem}.runtimeconfig.json")
    try:
        options = json.loads(path.read_bytes())["runtimeOptions"]
        wanted = options.get("frameworks") or [options["framework"]]
    except (OSError, ValueError, KeyError):
        fix = "copy the whole output folder, or `dotnet publish`"
        yield Check("SCHEDULER_DLL", ok=False, text=f"{path.name} can't be read beside it", fix=fix)
        return
    for one in wanted:
        major = str(one["version"]).split(".")[0]
        there = any(each.startswith(f"{one['name']} {major}.") for each in runtimes)
        fix = f"install {one['name']} {major}; a newer one does with DOTNET_ROLL_FORWARD=Major"
        yield Check("SCHEDULER_DLL", there, f"wants {one['name']} {one['version']}", fix)
