"""services.yaml as frozen values; every default of the product stands here and nowhere else."""

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from orchestrator.spec.quantities import (
    format_duration,
    format_size,
    parse_duration,
    parse_signal,
    parse_size,
    signal_name,
)
from orchestrator.spec.template import Template

SERVICE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")

Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    Field(json_schema_extra={"type": ["string", "number"], "examples": ["500ms", "10s", "1m30s"]}),
]
Size = Annotated[
    int,
    BeforeValidator(parse_size),
    PlainSerializer(format_size, return_type=str),
    Field(json_schema_extra={"type": ["string", "integer"], "examples": ["10MiB", "10MB", 4096]}),
]
SignalNumber = Annotated[
    int,
    BeforeValidator(parse_signal),
    PlainSerializer(signal_name, return_type=str),
    Field(json_schema_extra={"type": ["string", "integer"], "examples": ["TERM", "INT", 15]}),
]
PortNumber = Annotated[int, Field(ge=1, le=65535)]


class Model(BaseModel):
    """Frozen; unknown keys are refused. Fields are filled by the key of services.yaml (alias)."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        populate_by_name=True,
        serialize_by_alias=True,
        arbitrary_types_allowed=True,
        strict=False,
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

    initial_s: Duration = Field(0.5, alias="initial", ge=0)
    factor: float = Field(2.0, ge=1)
    max_s: Duration = Field(30.0, alias="max", ge=0)
    jitter: float = Field(0.2, ge=0, le=1)

    def delay_s(self, failures: int) -> float:
        """Return the seconds to wait after the ``failures``-th failure, without jitter.

        The first is 0, the second ``initial_s``, the third ``initial_s * factor``, up to ``max_s``.
        """
        if failures <= 1:
            return 0.0
        # Past 64 doublings a float would overflow long after max_s is reached.
        return float(min(self.max_s, self.initial_s * self.factor ** min(failures - 2, 64)))


class Limit(Model):
    """More failures than ``failures`` within ``within_s`` seconds, and the service has failed."""

    failures: int = Field(5, ge=1)
    within_s: Duration = Field(120.0, alias="within", gt=0)


class Restart(Model):
    """The restart policy. ``forgive_after_s`` seconds of running well forgive one failure."""

    policy: Policy = Policy.ON_FAILURE
    backoff: Backoff = Backoff()
    forgive_after_s: Duration = Field(60.0, alias="forgive_after", gt=0)
    limit: Limit | None = Limit()


class Stop(Model):
    """How to stop: ``signal`` (a number) to the group, after ``grace_s`` KILL to the whole tree."""

    signal: SignalNumber = 15
    grace_s: Duration = Field(10.0, alias="grace", ge=0)


class HttpProbe(Model):
    """Well when the answer's status is in ``status`` and ``body``, if given, occurs in it."""

    path: Template | None = None
    url: Template | None = None
    method: str = "GET"
    headers: dict[str, Template] = {}
    status: tuple[tuple[int, int], ...] = ((200, 299),)
    body: str | None = None


class TcpProbe(Model):
    """Well when a connection is accepted. ``port`` None is the service's own."""

    host: str | None = None
    port: PortNumber | None = None


class ExecProbe(Model):
    """Well when the command ends with 0."""

    command: tuple[Template, ...] = Field(min_length=1)


class LogProbe(Model):
    """Well when ``pattern`` (a regular expression) occurs in this run's output."""

    pattern: str


class Health(Model):
    """How we learn that a service is well. All probes that are named must pass."""

    http: HttpProbe | None = None
    tcp: TcpProbe | None = None
    exec: ExecProbe | None = None
    log: LogProbe | None = None
    interval_s: Duration = Field(10.0, alias="interval", gt=0)
    timeout_s: Duration = Field(3.0, alias="timeout", gt=0)
    failures: int = Field(3, ge=1)
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
    shell: bool = False
    cwd: Template | None = None
    env: dict[str, Template | None] = {}


class McpAuth(Model):
    """The credentials that are published with the URL."""

    client_id: Template | None = None
    api_key: Template | None = None


class Mcp(Model):
    """This service is an MCP server: publish it under ``name`` when it is ready."""

    name: str = Field(min_length=1)
    path: Template = Template.literal("/mcp")
    auth: McpAuth | None = None


class LogRotation(Model):
    """When the log file is rotated, and how many rotated segments are kept."""

    max_size_bytes: Size = Field(10 * 1024 * 1024, alias="max_size", ge=4096)
    keep: int = Field(10, ge=0)


class EnvFile(Model):
    """A file of NAME=value lines; a missing one is fine unless ``required``."""

    path: str
    required: bool = False


class Secret(Model):
    """Where a value comes from that is redacted wherever it would be shown.

    In this order: ``env`` (the environment or .env), ``file``, made once and kept (``generate``).
    """

    env: str | None = None
    file: str | None = None
    generate: bool = False


class Service(Model):
    """One service of the file. ``name`` is its key there."""

    name: str
    run: tuple[Alternative, ...] = Field(min_length=1)
    cwd: Template = Template.literal(".")
    env: dict[str, Template | None] = {}
    env_file: EnvFile | None = None
    inherit_env: bool = True
    port: PortNumber | Literal["auto"] | None = None
    depends_on: dict[str, Condition] = {}
    oneshot: bool = False
    success_exit_codes: tuple[int, ...] = (0,)
    health: Health | None = None
    restart: Restart = Restart()
    stop: Stop = Stop()
    log: str = ""
    logs: LogRotation = LogRotation()
    mcp: Mcp | None = None

    @property
    def has_probe(self) -> bool:
        """Whether its health is known by asking, and not by running alone."""
        return self.health is not None


class Config(Model):
    """Where discovered URLs and credentials go."""

    path: str = "config/config.json"


class Project(Model):
    """All that services.yaml says. ``file`` is its real path; paths count from ``root_dir``."""

    name: str
    file: Path
    env_file: EnvFile | None = None
    config: Config = Config()
    secrets: dict[str, Secret] = {}
    services: dict[str, Service]
    # The values of the file's env_file: below the environment of `up`, and never printed.
    env_file_values: dict[str, str] = Field({}, exclude=True, repr=False)

    @property
    def root_dir(self) -> Path:
        """The folder of services.yaml."""
        return self.file.parent
