"""The schema that editors check services.yaml with."""

import types
import typing
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # no stubs among our test dependencies
import pytest
import yaml
from pydantic import BaseModel

from orchestrator.spec import model, words
from orchestrator.spec.dump import plain
from orchestrator.spec.schema import json_schema
from tests.unit.spec.files import project
from tests.unit.spec.test_dump import EVERYTHING

ROOT = Path(__file__).parents[3]
SCHEMA = json_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
NAMED = {
    "Alternative": "alternative",
    "Backoff": "backoff",
    "Config": "config",
    "EnvFile": "env_file",
    "Health": "health",
    "HttpProbe": "http",
    "Limit": "limit",
    "LogRotation": "logs",
    "Mcp": "mcp",
    "McpAuth": "auth",
    "McpProbe": "mcp_probe",
    "Requires": "requires",
    "Restart": "restart",
    "Secret": "secret",
    "Service": "service",
    "Stop": "stop",
}
WRITTEN_SHORT = {"TcpProbe", "ExecProbe", "LogProbe"}


def errors(text: str) -> list[str]:
    value = yaml.safe_load(text)
    return [error.json_path for error in VALIDATOR.iter_errors(value)]


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_the_shipped_file_fits() -> None:
    assert errors((ROOT / "services.yaml").read_text(encoding="utf-8")) == []


def test_every_form_fits(tmp_path: Path) -> None:
    assert errors(EVERYTHING) == []
    assert list(VALIDATOR.iter_errors(plain(project(tmp_path, EVERYTHING)))) == []


@pytest.mark.parametrize(
    "keys",
    [
        "port: '${PORT:-8000}'",
        "port: none",
        "port: auto",
        "depends_on: db",
        "depends_on: [db]",
        "depends_on: {db: healthy}",
        "restart: always",
        "restart: no",
        "restart: {limit: none}",
        "restart: {limit: {failures: '${N:-5}'}}",
        "health: none",
        "health: no",
        "health: {http: /health}",
        "health: {http: {url: 'http://a', status: 200}}",
        "health: {http: {path: /, status: [200-299, 301]}}",
        "health: {tcp: 80}",
        "health: {tcp: db:80}",
        "health: {tcp: '${HOST}:80'}",
        "health: {exec: a b}",
        "health: {log: ready}",
        "health: {mcp: true}",
        "health: {mcp: none}",
        "health: {mcp: /mcp}",
        "health: {mcp: {tools: [a]}}",
        "env: {A: 1, B: ~, C: c}",
        "env_file: a",
        "env_file: none",
        "env_file: {path: a, required: true}",
        "stop: {grace: 1m 30s, signal: RTMIN+1}",
        "logs: {max_size: 1.5MiB, keep: 0}",
        "shell: true",
        "mcp: none",
        "mcp: {name: A}",
        "oneshot: '${X}'",
        "success_exit_codes: [0, 1]",
    ],
)
def test_each_short_form_fits(keys: str) -> None:
    assert errors(f"services: {{web: {{command: x, {keys}}}}}") == []


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "services: {}",
        "services: {Web: {command: x}}",
        "services: {orchestrator: {command: x}}",
        "services: {web: {}}",
        "services: {web: x}",
        "services: {web: {command: x, run: [{command: x}]}}",
        "services: {web: {command: x, helth: none}}",
        "services: {web: {command: []}}",
        "services: {web: {run: [{requires: {}, command: x}]}}",
        "services: {web: {run: [{command: x, requires: {porgram: x}}]}}",
        "services: {web: {command: x, port: 99999}}",
        "services: {web: {command: x, port: many}}",
        "services: {web: {command: x, env: {A: true}}}",
        "services: {web: {command: x, env: {A: [b]}}}",
        "services: {web: {command: x, restart: sometimes}}",
        "services: {web: {command: x, depends_on: {db: ready}}}",
        "services: {web: {command: x, health: {http: {path: /, url: 'http://a'}}}}",
        "services: {web: {command: x, health: {http: {path: x}}}}",
        "services: {web: {command: x, health: {interval: soon}}}",
        "services: {web: {command: x, stop: {grace: -1}}}",
        "services: {web: {command: x, success_exit_codes: [256]}}",
        "services: {web: {command: x, mcp: {path: /mcp}}}",
        "services: {web: {command: x, oneshot: 1}}",
        "services: {web: {command: x, tty: true}}",
        "name: [x]\nservices: {web: {command: x}}",
        "secrets: {a: {}}\nservices: {web: {command: x}}",
        "secrets: {a.b: {generate: true}}\nservices: {web: {command: x}}",
        "service: {web: {command: x}}\nservices: {web: {command: x}}",
    ],
)
def test_what_the_loader_refuses_does_not_fit(text: str) -> None:
    assert errors(text) != []


def test_a_place_for_anchors_fits() -> None:
    assert errors("x-any: [1]\nservices: {web: {command: x}}") == []


def models(kind: type[BaseModel], found: dict[str, type[BaseModel]]) -> dict[str, type[BaseModel]]:
    """Return every model below one, by name."""
    found[kind.__name__] = kind
    for field in kind.model_fields.values():
        for inner in _inner(field.annotation):
            if inner.__name__ not in found:
                models(inner, found)
    return found


def _inner(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return [annotation] if issubclass(annotation, BaseModel) else []
    return [one for part in typing.get_args(annotation) for one in _inner(part)]


@pytest.mark.parametrize("name", sorted(models(model.Project, {}).keys() - WRITTEN_SHORT))
def test_the_schema_has_the_keys_of_the_model_each_with_words(name: str) -> None:
    kind = models(model.Project, {})[name]
    schema = SCHEMA if name == "Project" else SCHEMA["$defs"][NAMED[name]]
    assert set(schema["properties"]) == set(words.keys_of(kind))
    assert schema["additionalProperties"] is False
    assert all(one["description"].endswith(".") for one in schema["properties"].values())


def test_defaults_are_those_of_the_model() -> None:
    kinds = SCHEMA["$defs"]
    assert kinds["service"]["properties"]["cwd"]["default"] == "."
    assert kinds["service"]["properties"]["inherit_env"]["default"] is True
    assert "default" not in kinds["service"]["properties"]["health"]
    assert kinds["stop"]["properties"]["grace"]["default"] == "10s"
    assert kinds["backoff"]["properties"]["jitter"]["default"] == 0.2
    assert kinds["health"]["properties"]["start_timeout"]["default"] == "2m"
    assert kinds["http"]["properties"]["status"]["default"] == ["200-299"]
    assert kinds["logs"]["properties"]["max_size"]["default"] == "10MiB"
    assert kinds["mcp"]["properties"]["path"]["default"] == "/mcp"
    assert kinds["config"]["properties"]["path"]["default"] == "config/config.json"


def test_every_default_fits_its_own_key() -> None:
    for kind in (SCHEMA, *SCHEMA["$defs"].values()):
        for key, one in kind.get("properties", {}).items():
            if "default" in one:
                inner = {**one, "$defs": SCHEMA["$defs"]}
                jsonschema.Draft202012Validator(inner).validate(one["default"]), key
