"""What users may write under each key of services.yaml, and what it means, in JSON Schema's terms.

Defaults are not here: they stand in the model.
"""

from typing import Any

Schema = dict[str, Any]
Keys = dict[str, tuple[Schema, str]]
"""Keys of a mapping, each with its schema and what it means."""

_NONE: Schema = {"enum": ["none", False]}
_TEXT: Schema = {"type": ["string", "number"]}
_REPLACED: Schema = {"$ref": "#/$defs/replaced"}


def _or(*options: Schema) -> Schema:
    return {"anyOf": list(options)}


def _def(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _list_of(items: Schema, **more: object) -> Schema:
    return {"type": "array", "items": items, **more}


def _enum(*values: object) -> Schema:
    return _or({"enum": list(values)}, _REPLACED)


def _whole(low: int, high: int | None = None) -> Schema:
    most = {} if high is None else {"maximum": high}
    return _or({"type": "integer", "minimum": low, **most}, _REPLACED)


def _number(low: float, high: float | None = None) -> Schema:
    most = {} if high is None else {"maximum": high}
    return _or({"type": "number", "minimum": low, **most}, _REPLACED)


_FLAG = _or({"type": "boolean"}, _REPLACED)
_COMMAND = _or({"type": "string", "minLength": 1}, _list_of(_TEXT, minItems=1))
_PORT_NUMBER = _whole(1, 65535)
_ENV: Schema = {
    "type": "object",
    "propertyNames": {"pattern": "^[^=]+$"},
    "additionalProperties": {"type": ["string", "number", "null"]},
}
_PATH: Schema = {"type": "string", "pattern": r"^(/|.*\$\{)"}
_STATUS = _or(
    {"type": "integer", "minimum": 100, "maximum": 599},
    {"type": "string", "pattern": r"^\s*[1-5]\d\d(\s*-\s*[1-5]\d\d)?\s*$"},
    _REPLACED,
)

SCALARS: dict[str, Schema] = {
    "name": {
        "type": "string",
        "pattern": "^[a-z0-9][a-z0-9_-]{0,39}$",
        "not": {"const": "orchestrator"},
        "description": "The name of a service.",
    },
    "replaced": {
        "type": "string",
        "pattern": r"\$\{",
        "description": "Text with ${VAR}, ${VAR:-default} or ${VAR:?message} in it.",
    },
    "duration": {
        "anyOf": [
            {"type": "number", "minimum": 0},
            {"type": "string", "pattern": r"^\s*(\d+(\.\d+)?\s*(us|ms|s|m|h|d)\s*)+$"},
            {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*$"},
            _REPLACED,
        ],
        "examples": ["500ms", "10s", "1m30s", 2.5],
    },
    "size": {
        "anyOf": [
            {"type": "integer", "minimum": 0},
            {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*([kKmMgG]?[iI]?[bB])?\s*$"},
            _REPLACED,
        ],
        "examples": ["10MiB", "10MB", 4096],
    },
    "signal": {
        "anyOf": [
            {"type": "integer", "minimum": 1, "maximum": 64},
            {"type": "string", "pattern": r"^\s*[A-Za-z0-9+-]+\s*$"},
            _REPLACED,
        ],
        "examples": ["TERM", "INT", "QUIT", 15],
    },
}

ENV_FILE: Keys = {
    "path": (_TEXT, "Against the folder of services.yaml."),
    "required": (_FLAG, "Whether it is an error that there is none."),
}

SECRET: Keys = {
    "env": ({"type": "string"}, "The variable that has it: in the environment of `up`, or .env."),
    "file": (_TEXT, "A file that holds it, and nothing else."),
    "generate": (_FLAG, "Make one, once, and keep it outside the project with mode 0600."),
}

HTTP: Keys = {
    "path": (_PATH, "Asked for on the service's own port."),
    "url": ({"type": "string"}, "A whole URL, instead of a path."),
    "method": ({"type": "string"}, "The method of the request."),
    "headers": ({"type": "object", "additionalProperties": _TEXT}, "Headers of the request."),
    "status": (_or(_STATUS, _list_of(_STATUS)), "Which status means well: 200 or 200-299."),
    "body": (_TEXT, "Text that must occur in the answer."),
}

MCP_PROBE: Keys = {
    "path": (_PATH, "Where it answers; by default `path` of the service's `mcp`, or /mcp."),
    "tools": (_list_of(_TEXT), "Names that must be among its tools."),
}

HEALTH: Keys = {
    "http": (
        _or({"type": "string"}, _def("http")),
        "A path on the service's port, a URL, or more of a request.",
    ),
    "tcp": (
        _or(_PORT_NUMBER, {"type": "boolean"}, {"type": "string", "pattern": r":?\d+$|\$\{"}),
        "Connect to a port, to host:port, or (true) to the service's own port.",
    ),
    "exec": (
        _COMMAND,
        "A command that ends with 0, in the folder and with the environment of the service.",
    ),
    "log": (
        {"type": "string", "format": "regex"},
        (
            "A regular expression that must occur in the output of this run. Its named groups "
            "become ${services.NAME.log.GROUP}."
        ),
    ),
    "mcp": (
        _or({"type": "boolean"}, {"enum": ["none"]}, _PATH, _def("mcp_probe")),
        "It must answer as an MCP server; `true` asks at `path` of the service's `mcp`.",
    ),
    "interval": (
        _def("duration"),
        (
            "Once healthy. While starting: first at once, then every 5 % of the time waited so "
            "far, between 10 ms and 1 s."
        ),
    ),
    "timeout": (_def("duration"), "For one whole probe, whatever it does."),
    "failures": (_whole(1), "So many in a row, and it is unhealthy."),
    "start_timeout": (_def("duration"), "Not healthy by then: the start has failed."),
    "on_unhealthy": (
        _enum("restart", "ignore"),
        "Restart it under the same backoff and limit as after a crash, or only say so.",
    ),
    "listener": (
        _enum("own", "any"),
        (
            "Who must listen on the probed port: a process of this service, or (docker run -p, "
            "ssh -L, sudo) anybody."
        ),
    ),
}

BACKOFF: Keys = {
    "initial": (
        _def("duration"),
        "The first failure is retried at once, the second after this long.",
    ),
    "factor": (_number(1), "The wait grows by this factor with every failure."),
    "max": (_def("duration"), "The longest wait."),
    "jitter": (_number(0, 1), "Up to this share is added to a wait, at random."),
}

LIMIT: Keys = {
    "failures": (_whole(1), "One failure more than this, and it is not tried again."),
    "within": (_def("duration"), "Failures longer ago than this do not count."),
}

# YAML reads an unquoted `no` as false.
_POLICY = _or({"enum": ["always", "on-failure", "no", False]}, _REPLACED)
RESTART: Keys = {
    "policy": (_POLICY, "When a service that ended is started again."),
    "backoff": (_def("backoff"), "How long to wait before that."),
    "forgive_after": (_def("duration"), "Running well for this long forgives one failure."),
    "limit": (_or(_NONE, _def("limit")), "When to give up; `none`: never."),
}

STOP: Keys = {
    "signal": (_def("signal"), "Sent to the process group of the service."),
    "grace": (_def("duration"), "Then KILL, until its whole tree is gone."),
}

REQUIRES: Keys = {
    "program": (_TEXT, "A program, looked for on PATH as the service sees it."),
    "file": (_TEXT, "A file, against the folder of services.yaml."),
}

_CWD = (_TEXT, "Where it runs, against the folder of services.yaml.")
_SHELL = (_FLAG, "Whether the command, one text, is run by /bin/sh -c.")
_VARIABLES = (_ENV, "Variables; null takes one out.")

ALTERNATIVE: Keys = {
    "requires": (_def("requires"), "What must be there for it to be taken."),
    "command": (_COMMAND, "What to run: a list of words, or one text that is split as by a shell."),
    "cwd": (_CWD[0], "Where it runs; by default where the service says."),
    "env": (_ENV, "Variables, above those of the service."),
    "shell": _SHELL,
}

AUTH: Keys = {
    "client_id": (_TEXT, "Who the client is."),
    "api_key": (_TEXT, "What proves it; commonly ${secrets.NAME}."),
}

MCP: Keys = {
    "name": ({"type": ["string", "number"]}, "The entry in config.json."),
    "path": (_PATH, "Added to the URL of the service."),
    "auth": (_def("auth"), "Credentials that are published with the URL."),
}

LOGS: Keys = {
    "max_size": (_def("size"), "The log file is rotated at this size; at least 4096."),
    "keep": (_whole(0), "How many rotated files stay."),
}

_CONDITION = _enum("started", "healthy", "completed")
SERVICE: Keys = {
    "command": (
        _COMMAND,
        "What to run: a list of words, or a text that is split as by a shell and run without one.",
    ),
    "run": (
        _list_of(_def("alternative"), minItems=1),
        "Instead of `command`: the first alternative whose `requires` are all met is taken.",
    ),
    "shell": _SHELL,
    "cwd": _CWD,
    "env": _VARIABLES,
    "env_file": (_or(_NONE, _TEXT, _def("env_file")), "NAME=value lines, below `env`."),
    "inherit_env": (
        _FLAG,
        "Whether it gets the environment of `up`; if not, PATH, HOME, USER, LANG, TZ only.",
    ),
    "port": (
        _or(_PORT_NUMBER, {"enum": ["auto", "none", False]}),
        "Its port, or `auto`: ${PORT} in its command, PORT in its environment.",
    ),
    "depends_on": (
        _or(
            _def("name"),
            _list_of(_def("name")),
            {"type": "object", "propertyNames": _def("name"), "additionalProperties": _CONDITION},
        ),
        "What it waits for. In a list: completed for a one-shot, else healthy.",
    ),
    "oneshot": (_FLAG, "Ending well is being done: `completed`."),
    "success_exit_codes": (_list_of(_whole(0, 255)), "What counts as ending well."),
    "health": (
        _or(_NONE, _def("health")),
        "How we learn that it is well; all that are named must pass. By default: tcp on `port`.",
    ),
    "restart": (_or(_POLICY, _def("restart")), "When it is started again."),
    "stop": (_def("stop"), "How it is stopped."),
    "log": (_TEXT, "Its output; by default logs/NAME.log."),
    "logs": (_def("logs"), "How the log file is rotated."),
    "mcp": (_or(_NONE, _def("mcp")), "It is an MCP server: publish it in config.json when ready."),
}

CONFIG: Keys = {"path": (_TEXT, "The file.")}

PROJECT: Keys = {
    "name": (_TEXT, "What the stack is called; by default as the folder is."),
    "env_file": (
        _or(_NONE, _TEXT, _def("env_file")),
        "NAME=value lines, below the environment of `up`; by default .env.",
    ),
    "config": (_def("config"), "Where URLs and credentials are published."),
    "secrets": (
        {
            "type": "object",
            "propertyNames": {"pattern": "^[A-Za-z0-9_][A-Za-z0-9_-]{0,99}$"},
            "additionalProperties": _def("secret"),
        },
        "Values that are hidden wherever they would be shown: ${secrets.NAME}.",
    ),
    "services": (
        {
            "type": "object",
            "minProperties": 1,
            "propertyNames": _def("name"),
            "additionalProperties": _def("service"),
        },
        "The services, by name.",
    ),
}
