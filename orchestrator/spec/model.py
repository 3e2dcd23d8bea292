"""services.yaml as frozen values; every default of the product stands here and nowhere else."""

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from orchestrator.spec.quantities import (
    format_duration,
    format_size,
    parse_duration,
    parse_flag,
    parse_number,
    parse_port,
    parse_port_number,
    parse_signal,
    parse_size,
    parse_whole,
    signal_name,
)
from orchestrator.spec.template import Template, parse_text, written

SERVICE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
SECRET_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,99}")


def _variable(name: str) -> str:
    if not name or "=" in name:
        raise ValueError("is no name of a variable")
    return name


def _method(value: object) -> str:
    method = parse_text(value).upper()
    if not re.fullmatch(r"[A-Z]{1,20}", method):
        raise ValueError(f"{method!r} is no method of HTTP")
    return method


def _header(name: str) -> str:
    # Source: RFC 9110, 5.6.2 (token).
    if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
        raise ValueError("is no name of a header")
    return name


Text = Annotated[str, BeforeValidator(parse_text), PlainSerializer(written, return_type=str)]
Flag = Annotated[bool, BeforeValidator(parse_flag)]
Whole = Annotated[int, BeforeValidator(parse_whole)]
Number = Annotated[float, BeforeValidator(parse_number)]
Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
]
Size = Annotated[
    int,
    BeforeValidator(parse_size),
    PlainSerializer(format_size, return_type=str),
]
SignalNumber = Annotated[
    int,
    BeforeValidator(parse_signal),
    PlainSerializer(signal_name, return_type=str),
]
PortNumber = Annotated[int, BeforeValidator(parse_port_number)]
Port = Annotated[int | Literal["auto"], BeforeValidator(parse_port)]
VariableName = Annotated[str, BeforeValidator(_variable)]


class Model(BaseModel):
    """Frozen; unknown keys are refused. Fields are filled by the key of services.yaml (alias)."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        populate_by_name=True,
        serialize_by_alias=True,
        # Only the roots are built, each with all that is below it: that takes half the time.
        defer_build=True,
    )


class Condition(StrEnum):
    """What a service waits for in another one."""

    STARTED = "started"
    HEALTHY = "healthy"
    COMPLETED = "completed"


class Policy(StrEnum):
    """When a service that ended is started again."""

    ALWAYS = "always"
    ON_FAILURE = "on-failure"
    NO = "no"


class Backoff(Model):
    """The wait before a restart: the first at once, then ``initial_s``, then times ``factor``."""

    initial_s: Duration = Field(0.5, alias="initial")
    factor: Number = Field(2.0, ge=1)
    max_s: Duration = Field(30.0, alias="max")
    jitter: Number = Field(0.2, ge=0, le=1)

    def delay_s(self, failures: int) -> float:
        """Return the seconds to wait after the ``failures``-th failure, without jitter.

        The first is 0, the second ``initial_s``, the third ``initial_s * factor``, up to ``max_s``.
        """
        if failures <= 1 or self.initial_s == 0:
            return 0.0
        try:
            return float(min(self.max_s, self.initial_s * self.factor ** (failures - 2)))
        except OverflowError:
            return self.max_s


class Limit(Model):
    """More failures than ``failures`` within ``within_s`` seconds, and the service has failed."""

    failures: Whole = Field(5, ge=1)
    within_s: Duration = Field(120.0, alias="within", gt=0)


class Restart(Model):
    """The restart policy. ``forgive_after_s`` seconds of running well forgive one failure."""

    policy: Policy = Policy.ON_FAILURE
    backoff: Backoff = Field(default_factory=Backoff)
    forgive_after_s: Duration = Field(60.0, alias="forgive_after", gt=0)
    limit: Limit | None = Field(default_factory=Limit)


class Stop(Model):
    """How to stop: ``signal`` (a number) to the group, after ``grace_s`` KILL to the whole tree."""

    signal: SignalNumber = 15
    grace_s: Duration = Field(10.0, alias="grace")


class HttpProbe(Model):
    """Well when the answer's status is in ``status`` and ``body``, if given, occurs in it.

    It has either ``path``, on the service's port, or a whole ``url``.
    """

    path: Template | None = None
    url: Template | None = None
    method: Annotated[str, BeforeValidator(_method)] = "GET"
    headers: dict[Annotated[str, BeforeValidator(_header)], Template] = {}
    status: tuple[tuple[int, int], ...] = Field(((200, 299),), min_length=1)
    body: Text | None = None


class TcpProbe(Model):
    """Well when a connection is accepted. ``port`` None is the service's own."""

    host: Text | None = None
    port: PortNumber | None = None


class ExecProbe(Model):
    """Well when the command ends with 0."""

    command: tuple[Template, ...] = Field(min_length=1)


class LogProbe(Model):
    """Well when ``pattern`` (a regular expression) occurs in this run's output."""

    pattern: Text


class McpProbe(Model):
    """Well when it answers as an MCP server does, or the dialect's tool list; and has ``tools``.

    ``path`` None is that of the service's ``mcp``.
    """

    path: Template | None = None
    tools: tuple[Annotated[Text, Field(min_length=1)], ...] = ()


class Health(Model):
    """How we learn that a service is well. All probes that are named must pass."""

    http: HttpProbe | None = None
    tcp: TcpProbe | None = None
    exec: ExecProbe | None = None
    log: LogProbe | None = None
    mcp: McpProbe | None = None
    interval_s: Duration = Field(10.0, alias="interval", gt=0)
    timeout_s: Duration = Field(3.0, alias="timeout", gt=0)
    failures: Whole = Field(3, ge=1)
    start_timeout_s: Duration = Field(120.0, alias="start_timeout", gt=0)
    on_unhealthy: Literal["restart", "ignore"] = "restart"
    listener: Literal["own", "any"] = "own"


class Requires(Model):
    """What must be there for an alternative: a program on PATH, a file. Both may be named."""

    program: Template | None = None
    file: Template | None = None
    # The variables it was taken from: a requirement that the user set must not be passed over.
    set_by_user: tuple[str, ...] = Field((), exclude=True)


class Alternative(Model):
    """One way to run a service; the first whose ``requires`` are all met is taken."""

    requires: Requires | None = None
    command: tuple[Template, ...] = Field(min_length=1)
    cwd: Template | None = None
    env: dict[VariableName, Template | None] = {}


class McpAuth(Model):
    """The credentials that are published with the URL."""

    client_id: Template | None = None
    api_key: Template | None = None


class Mcp(Model):
    """This service is an MCP server: publish it under ``name`` when it is ready."""

    name: Text = Field(min_length=1)
    path: Template = Template.literal("/mcp")
    auth: McpAuth | None = None


class LogRotation(Model):
    """When the log file is rotated, and how many rotated segments are kept."""

    max_size_bytes: Size = Field(10 * 1024 * 1024, alias="max_size", ge=4096)
    keep: Whole = Field(10, ge=0)


class EnvFile(Model):
    """A file of NAME=value lines; a missing one is fine unless ``required``."""

    path: Text = Field(min_length=1)
    required: Flag = False


class Secret(Model):
    """Where a value comes from that is redacted wherever it would be shown.

    In this order: ``env`` (the environment or .env), ``file``, made once and kept (``generate``).
    """

    env: Annotated[VariableName, BeforeValidator(parse_text)] | None = None
    file: Text | None = Field(None, min_length=1)
    generate: Flag = False


class Service(Model):
    """One service of the file. ``name`` is its key there."""

    name: str
    run: tuple[Alternative, ...] = Field(min_length=1)
    cwd: Template = Template.literal(".")
    env: dict[VariableName, Template | None] = {}
    env_file: EnvFile | None = None
    inherit_env: Flag = True
    port: Port | None = None
    depends_on: dict[str, Condition] = {}
    oneshot: Flag = False
    success_exit_codes: tuple[Annotated[Whole, Field(ge=0, le=255)], ...] = (0,)
    health: Health | None = None
    restart: Restart = Field(default_factory=Restart)
    stop: Stop = Field(default_factory=Stop)
    log: Text = ""
    logs: LogRotation = Field(default_factory=LogRotation)
    mcp: Mcp | None = None
    # What its env_file holds: above the environment of `up`, below `env`, and never printed.
    env_file_values: dict[str, str] = Field({}, exclude=True, repr=False)

    @property
    def has_probe(self) -> bool:
        """Whether its health is known by asking, and not by running alone."""
        return self.health is not None


class Config(Model):
    """Where discovered URLs and credentials go."""

    path: Text = Field("config/config.json", min_length=1)


class Project(Model):
    """All that services.yaml says. ``file`` is its real path; paths count from ``root_dir``."""

    name: Text = Field(min_length=1)
    file: Path
    env_file: EnvFile | None = None
    config: Config = Field(default_factory=Config)
    secrets: dict[str, Secret] = {}
    services: dict[str, Service]
    # The values of the file's env_file: below the environment of `up`, and never printed.
    env_file_values: dict[str, str] = Field({}, exclude=True, repr=False)
    # Values of secrets that stand in variables, and so may have come into any text of the file.
    # The environment may hold bytes that are no UTF-8, which pydantic's str refuses.
    secret_values: tuple[Any, ...] = Field((), exclude=True, repr=False)

    @property
    def root_dir(self) -> Path:
        """The folder of services.yaml."""
        return self.file.parent
