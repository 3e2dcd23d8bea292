"""The file as it was understood, for people to read."""

from collections.abc import Mapping
from typing import Any

import yaml

from orchestrator.spec.model import Alternative, Health, Project, Service
from orchestrator.spec.template import written

HIDDEN = "••••"
# A shorter secret is hidden only where it is the whole text: it would be found everywhere.
_SHORTEST = 4
_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Plain(_Dumper):  # type: ignore[misc]
    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002
        """Write every value where it stands: people read this."""
        return True


def dump(project: Project) -> str:
    """Return the project as a services.yaml that says the same with nothing left to defaults.

    No value of a secret is in it: references stay, and where a variable brought one in, it is
    hidden.
    """
    text: str = yaml.dump(
        plain(project),
        Dumper=_Plain,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=None,
        width=100,
    )
    return text


def plain(project: Project) -> dict[str, Any]:
    """Return the same as plain values: what is known only at the start stays `${…}`."""
    value = project.model_dump(mode="json", exclude={"file", "services"}, exclude_none=True)
    value.setdefault("env_file", "none")
    value["services"] = {name: service_plain(one) for name, one in project.services.items()}
    # As it is, and as it is written where a dollar of it would be read.
    forms = {form for one in project.secret_values for form in (one, written(one))}
    hidden: dict[str, Any] = _hide(value, sorted(forms, key=len, reverse=True))
    return hidden


def service_plain(service: Service) -> dict[str, Any]:
    """Return a service as people write it."""
    own = {"name", "run", "env", "health", "restart"}
    value: dict[str, Any] = {}
    if len(service.run) == 1 and service.run[0] == Alternative(command=service.run[0].command):
        value["command"] = [str(word) for word in service.run[0].command]
    else:
        value["run"] = [_alternative(one) for one in service.run]
    value |= service.model_dump(mode="json", exclude=own, exclude_none=True)
    value["env"] = _env(service)
    value["health"] = "none" if service.health is None else health_plain(service.health)
    value["restart"] = service.restart.model_dump(mode="json")
    if service.restart.limit is None:
        value["restart"]["limit"] = "none"
    order = ["command", *(field.alias or name for name, field in Service.model_fields.items())]
    return {key: value[key] for key in order if key in value}


def health_plain(health: Health) -> dict[str, Any]:
    """Return probes as people write them."""
    value: dict[str, Any] = {}
    if health.http is not None:
        value["http"] = health.http.model_dump(mode="json", exclude_none=True)
        value["http"]["status"] = [f"{low}-{high}" for low, high in health.http.status]
    if health.tcp is not None:
        host, port = health.tcp.host, health.tcp.port
        value["tcp"] = True if port is None else port
        if host is not None:
            place = f"[{host}]" if ":" in host else host
            value["tcp"] = f"{place}:{'${PORT}' if port is None else port}"
    if health.exec is not None:
        value["exec"] = [str(word) for word in health.exec.command]
    if health.log is not None:
        value["log"] = health.log.model_dump(mode="json")["pattern"]
    if health.mcp is not None:
        asked = health.mcp.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
        value["mcp"] = asked or True
    probes = {"http", "tcp", "exec", "log", "mcp"}
    return value | health.model_dump(mode="json", exclude=probes)


def _alternative(alternative: Alternative) -> dict[str, Any]:
    value: dict[str, Any] = alternative.model_dump(mode="json", exclude={"env"}, exclude_none=True)
    return value | ({"env": _env(alternative)} if alternative.env else {})


def _env(holder: Service | Alternative) -> dict[str, str | None]:
    return {name: None if text is None else str(text) for name, text in holder.env.items()}


def _hide(value: Any, secrets: list[str]) -> Any:  # noqa: ANN401  plain data is anything
    if isinstance(value, Mapping):
        return {key: _hide(one, secrets) for key, one in value.items()}
    if isinstance(value, list):
        return [_hide(one, secrets) for one in value]
    return _hidden(value, secrets) if isinstance(value, str) else value


def _hidden(text: str, secrets: list[str]) -> str:
    for secret in secrets:
        if text == secret:
            return HIDDEN
        if len(secret) >= _SHORTEST:
            text = text.replace(secret, HIDDEN)
    # What came from the environment may be bytes that are no UTF-8.
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
