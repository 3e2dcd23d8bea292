"""Where the scheduler of a command is, and how to log in there."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

import click

from orchestrator.cli.stack import Stack, load_project, locate, options_of
from orchestrator.cli.table import harmless
from orchestrator.control.client import ControlClient
from orchestrator.errors import ControlError, OrchestratorError, SpecError
from orchestrator.scheduler.configuration import (
    API_KEY_VARIABLE,
    CLIENT_ID_VARIABLE,
    Access,
    is_http_url,
    read_access,
)
from orchestrator.scheduler.errors import ConfigurationUnusable

DEFAULT_PATH = Path("config/config.json")
DEFAULT_CLIENT = "orchestrator"
SUPERVISOR_S = 2.0
RUNNING = "is it running? `orchestrator ps` tells, `orchestrator up` starts it"
UP = "`orchestrator up` writes the stack's scheduler there once it is healthy"


@dataclass(eq=True)
class SchedulerUnset(OrchestratorError):
    """Nothing tells where the scheduler is or how to log in; ``fix`` says what would."""

    fix: str = ""
    kind: ClassVar[str] = "scheduler-configuration"
    exit_code: ClassVar[int] = 6

    __hash__ = Exception.__hash__

    def __post_init__(self) -> None:
        self.problem = self.message
        self.message = f"{self.message}; {self.fix}"


@dataclass(frozen=True, slots=True)
class Given:
    """Credentials of the command line; they win over all others."""

    client_id: str | None = None
    api_key: str | None = None

    def __repr__(self) -> str:  # the key must not reach a log by way of a traceback
        return f"Given(client_id={self.client_id!r})"


def find_access(context: click.Context, server_name: str, url: str | None, given: Given) -> Access:
    """Return where the scheduler is and how to log in.

    Raises:
        SchedulerUnset: nothing tells.
        SpecError: services.yaml, which would tell where config.json is, is wrong.
    """
    said = {
        name: value
        for name, value in (("client_id", given.client_id), ("api_key", given.api_key))
        if value is not None
    }
    variables = {"client_id": CLIENT_ID_VARIABLE, "api_key": API_KEY_VARIABLE}
    environ = dict(options_of(context).environ)
    environ.update({variables[name]: value for name, value in said.items()})
    found = _elsewhere(url, environ) if url else _published(context, server_name, environ)
    return replace(found, **said)


def shown_url(url: str) -> str:
    """Return a URL without what may be secret in it: user, password and query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _elsewhere(url: str, environ: Mapping[str, str]) -> Access:
    if not is_http_url(url):
        raise click.BadParameter(f"{url!r} is no http URL", param_hint="--url")
    api_key = environ.get(API_KEY_VARIABLE)
    if not api_key:
        # What config.json has is for the address that stands beside it.
        raise SchedulerUnset("--url takes no key from config.json", f"set {API_KEY_VARIABLE}")
    return Access(url, environ.get(CLIENT_ID_VARIABLE) or DEFAULT_CLIENT, api_key)


def _published(context: click.Context, server_name: str, environ: Mapping[str, str]) -> Access:
    path = _config_path(context)
    if path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    try:
        return read_access(path, server_name, environ)
    except ConfigurationUnusable as error:
        raise SchedulerUnset(harmless(str(error)), UP) from error


def _config_path(context: click.Context) -> Path:
    """Return the config.json of the stack that other commands would be about."""
    options = options_of(context)
    try:
        stack = locate(context)
    except SpecError:
        if options.file is not None:
            raise
        return Path.cwd() / DEFAULT_PATH
    path = _path_in_use(stack)
    if path is None:
        path = load_project(stack, options.environ, options.env_file).config.path
    return stack.root_dir / path


def _path_in_use(stack: Stack) -> str | None:
    """Return the path that a running stack publishes to, however its file reads by now."""
    try:
        return str(ControlClient(stack.runtime_dir, SUPERVISOR_S).stack()["config_path"])
    except ControlError:
        return None
