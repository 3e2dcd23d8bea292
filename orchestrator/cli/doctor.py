"""`doctor`: whether this machine has what the stack needs, and what to do where it has not."""

import json
import platform
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from orchestrator.cli.daemon import switched_off
from orchestrator.cli.stack import Options, Stack, load_project, locate, options_of
from orchestrator.errors import NotRunning, OrchestratorError
from orchestrator.spec.launch import Chosen
from orchestrator.spec.model import Project, Service
from orchestrator.system import ports
from orchestrator.system.capabilities import active_tiers, try_log_folder, try_runtime_folder
from orchestrator.system.dotnet_host import DOWNLOAD, Hosts

_PYTHON = (3, 11)


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
    hosts = Hosts()
    yield from _dotnet(options.environ, hosts)
    try:
        stack = locate(context)
    except OrchestratorError as error:
        yield Check("services.yaml", ok=False, text=error.message, note=True)
        yield from _scheduler_dll(options.environ, hosts)
        return
    yield from _folders(stack)
    yield from _file(stack, options, hosts)


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


def _file(stack: Stack, options: Options, hosts: Hosts) -> Iterator[Check]:
    try:
        project = load_project(stack, options.environ, options.env_file)
    except OrchestratorError as error:
        yield Check("services.yaml", ok=False, text=error.message)
        return
    yield Check("services.yaml", ok=True, text=f"{len(project.services)} services")
    running = _is_running(stack)
    for name, service in project.services.items():
        yield from _alternatives(project, service, options.environ, hosts)
        if isinstance(service.port, int) and not running:
            held = ports.holder(service.port, set)
            text = f"port {service.port} is free"
            if held is not None:
                text = f"port {service.port} is in use: {ports.describe(held)}"
            yield Check(name, held is None, text, "give it another `port`, or `port: auto`")


def _alternatives(
    project: Project, service: Service, environ: Mapping[str, str], hosts: Hosts
) -> Iterator[Check]:
    """Look at every way to run the service: at those too that an earlier one makes needless."""
    from orchestrator.system.requirements import NotMet, choose, meet

    try:
        taken = choose(project, service, environ, hosts.ask).index
    except OrchestratorError as error:
        yield Check(service.name, ok=False, text=error.message)
        taken = len(service.run)
    for index in range(len(service.run)):
        try:
            met = meet(project, service, index, environ, hosts.ask)
        except NotMet as missing:
            if taken < len(service.run):
                how = "is passed over" if index < taken else "could not be taken"
                text = f"alternative {index} {how}: {missing.why}"
                yield Check(service.name, ok=False, text=text, fix=missing.fix or None, note=True)
            continue
        if index == taken:
            yield from _program(service, met, environ)


def _program(service: Service, chosen: Chosen, environ: Mapping[str, str]) -> Iterator[Check]:
    program = str(service.run[chosen.index].command[0])
    if chosen.program is not None:
        what = f", {chosen.file}" if chosen.file else ""
        yield Check(service.name, ok=True, text=f"{chosen.program}{what}")
    elif "$" not in program and "/" not in program:
        found = shutil.which(program, path=environ.get("PATH"))
        yield Check(service.name, found is not None, found or f"{program!r} is not on PATH")


def _is_running(stack: Stack) -> bool:
    try:
        stack.client.stack()
    except NotRunning:
        return False
    except OrchestratorError:
        return True
    return True


def _dotnet(environ: Mapping[str, str], hosts: Hosts) -> Iterator[Check]:
    """Tell which .NET runtimes are there; none is no fault, the embedded scheduler stands in."""
    root = environ.get("DOTNET_ROOT")
    program = shutil.which("dotnet", path=environ.get("PATH"))
    if program is None and root is not None:
        program = shutil.which("dotnet", path=root)
    if program is None:
        text = "not on PATH nor in DOTNET_ROOT; the embedded scheduler stands in"
        yield Check("dotnet", ok=False, text=text, note=True)
        return
    host = hosts.ask(program, environ)
    if host.fault is not None:
        yield Check("dotnet", ok=False, text=host.fault.problem, fix=host.fault.fix)
        return
    if host.frameworks is None:
        yield Check("dotnet", ok=False, text=f"{program} --list-runtimes does not answer")
        return
    found = [f"{name} {version}" for name, all_ in host.frameworks.items() for version in all_]
    fix = f"install a .NET runtime: {DOWNLOAD}"
    text = f"{program}: {', '.join(found) or 'no runtime'}"
    yield Check("dotnet", bool(found), text, fix, note=not found)


def _scheduler_dll(environ: Mapping[str, str], hosts: Hosts) -> Iterator[Check]:
    """Look at the dll that is asked for where no stack is at hand to say how it is started."""
    from orchestrator.system.dotnet import app_of, fault_of

    dll, program = environ.get("SCHEDULER_DLL"), shutil.which("dotnet", path=environ.get("PATH"))
    app = app_of([dll], Path.cwd()) if dll else None
    if app is not None:
        fault = fault_of(app, hosts.ask(program, environ) if program else None, environ)
        text, fix = (fault.problem, fault.fix) if fault else (f"{app.dll} would start", None)
        yield Check("SCHEDULER_DLL", fault is None, text, fix)
