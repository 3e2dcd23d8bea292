"""Which installed .NET framework an app would run on, by the rules of .NET's own host."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_VERSION = re.compile(r"(\d{1,9})\.(\d{1,9})\.(\d{1,9})(?:-([0-9A-Za-z.-]+))?(?:\+.*)?\Z")
_POLICIES = ("Disable", "LatestPatch", "Minor", "LatestMinor", "Major", "LatestMajor")
_BY_LOWER_CASE = {policy.lower(): policy for policy in _POLICIES}
_LEGACY = {0: "LatestPatch", 1: "Minor", 2: "Major"}
_DEFAULT = "Minor"

Version = tuple[int, int, int, bool, tuple[tuple[int, int, str], ...]]


@dataclass(frozen=True, slots=True)
class Framework:
    """A framework that an app asks for, and how far the host may go from its version."""

    name: str
    version: str
    roll_forward: str = _DEFAULT

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def parse(text: str) -> Version | None:
    """Return a version as it is ordered; None if it is none. Source: semver.org, 11."""
    found = _VERSION.match(text)
    if found is None:
        return None
    parts = found[4].split(".") if found[4] else []
    pre = tuple((0, int(one), "") if one.isdigit() else (1, 0, one) for one in parts)
    return int(found[1]), int(found[2]), int(found[3]), not pre, pre


def frameworks(
    options: Mapping[str, Any], environ: Mapping[str, str], forced: str | None = None
) -> tuple[Framework, ...]:
    """Return what `runtimeOptions` of a runtimeconfig.json asks for; nothing if self-contained.

    ``forced`` is what `--roll-forward` says. Stronger than that of the file is the one of the
    environment, and `--roll-forward` is stronger still.

    Raises:
        ValueError: it is not what the host understands.

    Source: .NET's docs/design/features/framework-version-resolution.md; tried with .NET 10.
    """
    named = options.get("frameworks") or ([options["framework"]] if "framework" in options else [])
    forced = forced or environ.get("DOTNET_ROLL_FORWARD")
    legacy = _LEGACY.get(options.get("rollForwardOnNoCandidateFx", -1))
    found = []
    for one in named:
        if not isinstance(one, Mapping) or not one.get("name") or not one.get("version"):
            raise ValueError("a framework in it has no name, or no version")
        said = one.get("rollForward") or options.get("rollForward") or legacy or _DEFAULT
        policy = _BY_LOWER_CASE.get(str(forced or said).lower(), _DEFAULT)
        found.append(Framework(str(one["name"]), str(one["version"]), policy))
    return tuple(found)


def resolve(wanted: Framework, installed: Iterable[str]) -> str | None:
    """Return the version among ``installed`` that the host would take; None if it refuses all.

    A release is preferred to what came before one. Source: as of ``frameworks``.
    """
    asked = parse(wanted.version)
    known = {text: version for text in installed if (version := parse(text)) is not None}
    if asked is None:
        return None
    fits = {text: one for text, one in known.items() if _may_take(asked, one, wanted.roll_forward)}
    if asked[3]:
        fits = {text: one for text, one in fits.items() if one[3]} or fits
    if not fits:
        return None
    if not wanted.roll_forward.startswith("Latest"):
        nearest = min(one[:2] for one in fits.values())
        fits = {text: one for text, one in fits.items() if one[:2] == nearest}
    return max(fits, key=lambda text: fits[text])


def newer(wanted: Framework, installed: Iterable[str]) -> bool:
    """Whether a later version is installed than the one asked for."""
    asked = parse(wanted.version)
    found = (parse(text) for text in installed)
    return asked is not None and any(one is not None and one > asked for one in found)


def _may_take(asked: Version, one: Version, policy: str) -> bool:
    if policy == "Disable":
        return one == asked
    same = {"LatestPatch": 2, "Minor": 1, "LatestMinor": 1}.get(policy, 0)
    return one >= asked and one[:same] == asked[:same]
