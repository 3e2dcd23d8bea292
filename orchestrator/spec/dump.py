"""The file as it was understood, for people to read."""

from typing import Any

import yaml

from orchestrator.spec.model import Project

HIDDEN = "••••"


def plain(project: Project) -> dict[str, Any]:
    """Return the project as plain values: what is known only at the start stays `${…}`."""
    value: dict[str, Any] = project.model_dump(mode="json", exclude={"file"}, exclude_none=True)
    for service in value["services"].values():
        del service["name"]
        if len(service["run"]) == 1 and not service["run"][0].get("requires"):
            only = service.pop("run")[0]
            only["command"] = list(only["command"])
            service.update({key: one for key, one in only.items() if key == "command" or one})
    value["services"] = {
        name: dict(sorted(one.items(), key=lambda pair: pair[0] != "command"))
        for name, one in value["services"].items()
    }
    return value


def dump(project: Project) -> str:
    """Return the project as YAML. No value of a secret is in it: those are references."""
    return yaml.safe_dump(
        plain(project), sort_keys=False, allow_unicode=True, default_flow_style=None, width=100
    )
