"""Commands that are written as one text."""

import shlex
from typing import Any

from orchestrator.spec.interpolate import split_words
from orchestrator.spec.problems import Report
from orchestrator.spec.quantities import parse_flag
from orchestrator.spec.tree import Where


def split_commands(service: dict[str, Any], path: Where, report: Report) -> None:
    """Make lists of the commands of a service as YAML gave it; `shell` is gone afterwards.

    This comes before anything in them is replaced: so a variable's value is never split.
    """
    shell = _shell(service, path, report, inherited=False)
    _split(service, "command", path, report, shell=shell)
    alternatives = service.get("run")
    for number, one in enumerate(alternatives if isinstance(alternatives, list) else ()):
        if isinstance(one, dict):
            here = (*path, "run", number)
            _split(one, "command", here, report, shell=_shell(one, here, report, inherited=shell))
    health = service.get("health")
    if isinstance(health, dict):
        _split(health, "exec", (*path, "health"), report, shell=False)


def _shell(holder: dict[str, Any], path: Where, report: Report, *, inherited: bool) -> bool:
    asked = holder.pop("shell", None)
    try:
        return inherited if asked is None else parse_flag(asked)
    except ValueError as error:
        report((*path, "shell"), str(error))
        return inherited


def _split(holder: dict[str, Any], key: str, path: Where, report: Report, *, shell: bool) -> None:
    text = holder.get(key)
    if shell and isinstance(text, str):
        holder[key] = ["/bin/sh", "-c", text]
    elif shell and text is not None:
        report((*path, key), "must be one text where `shell` is true")
    elif isinstance(text, str):
        try:
            holder[key] = split_words(text, shlex.split)
        except ValueError as error:
            report((*path, key), f"cannot be split into words: {str(error).lower()}")
            holder[key] = [text]
