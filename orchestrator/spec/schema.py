"""The JSON Schema of services.yaml with all its short forms, for editors."""

from collections.abc import Mapping, Sequence

from orchestrator.spec import keys
from orchestrator.spec.dump import health_plain, service_plain
from orchestrator.spec.keys import Keys, Schema
from orchestrator.spec.model import Alternative, Config, EnvFile, Health, HttpProbe, Mcp, Service
from orchestrator.spec.template import Template


def json_schema() -> Schema:
    """Return the schema of a whole services.yaml.

    Source: JSON Schema, draft 2020-12.
    """
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "services.yaml",
        "description": "Which processes belong together, and how they are run.",
        **_object(keys.PROJECT, {}, required=["services"]),
        # A place for anchors.
        "patternProperties": {"^x-": {}},
        "$defs": keys.SCALARS | _services() | _parts(),
    }


def _services() -> dict[str, Schema]:
    default = service_plain(_bare_service())
    # Its log is named for the service; what is a mapping has its defaults below it.
    values = {
        key: one
        for key, one in default.items()
        if key not in {"command", "log"} and (not one or not isinstance(one, dict))
    }
    service = _object(keys.SERVICE, values)
    del service["properties"]["health"]["default"]  # it depends on `port`
    service["oneOf"] = [{"required": ["command"]}, {"required": ["run"]}]
    restart = default["restart"]
    return {
        "service": service,
        "restart": _object(keys.RESTART, {"policy": restart["policy"]}),
        "backoff": _object(keys.BACKOFF, restart["backoff"]),
        "limit": _object(keys.LIMIT, restart["limit"]),
        "stop": _object(keys.STOP, default["stop"]),
        "logs": _object(keys.LOGS, default["logs"]),
    }


def _bare_service() -> Service:
    command = (Template.literal("x"),)
    return Service(name="x", run=(Alternative(command=command),))


def _parts() -> dict[str, Schema]:
    http = _object(keys.HTTP, health_plain(Health(http=HttpProbe()))["http"])
    http["oneOf"] = [{"required": ["path"]}, {"required": ["url"]}]
    env_file = EnvFile(path="x").model_dump(mode="json", exclude={"path"})
    mcp = Mcp(name="x").model_dump(mode="json", include={"path"})
    return {
        "env_file": _object(keys.ENV_FILE, env_file, required=["path"]),
        "secret": _object(keys.SECRET, {}) | {"minProperties": 1},
        "config": _object(keys.CONFIG, Config().model_dump(mode="json")),
        "health": _object(keys.HEALTH, health_plain(Health())),
        "http": http,
        "mcp_probe": _object(keys.MCP_PROBE, {}),
        "requires": _object(keys.REQUIRES, {}) | {"minProperties": 1},
        "alternative": _object(keys.ALTERNATIVE, {}, required=["command"]),
        "auth": _object(keys.AUTH, {}),
        "mcp": _object(keys.MCP, mcp, required=["name"]),
    }


def _object(known: Keys, defaults: Mapping[str, object], required: Sequence[str] = ()) -> Schema:
    properties = {
        key: {
            **shape,
            "description": words,
            **({"default": defaults[key]} if key in defaults else {}),
        }
        for key, (shape, words) in known.items()
    }
    schema: Schema = {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }
    return schema | ({"required": list(required)} if required else {})
