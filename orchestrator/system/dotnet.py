"""Whether a .NET app can run here, found out before it is started."""

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.system.dotnet_host import DOWNLOAD, Fault, Host
from orchestrator.system.dotnet_versions import Framework, frameworks, newer, parse, resolve

_WITH_VALUE = {
    "--additional-deps",
    "--additionalprobingpath",
    "--depsfile",
    "--fx-version",
    "--roll-forward",
    "--roll-forward-on-no-candidate-fx",
    "--runtimeconfig",
}
_BUILT = ("*.dll", "bin/*/net*/*.dll", "bin/*/net*/publish/*.dll", "publish/*.dll")
_COMMENTS = re.compile(r'("(?:\\.|[^"\\])*")|//[^\n]*|/\*.*?\*/', re.DOTALL)
_USUAL = ("/usr/share/dotnet", "/usr/lib/dotnet", "/usr/lib64/dotnet", "/usr/local/share/dotnet")
_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib")
_LOADER_CACHE = Path("/etc/ld.so.cache")
_LEARN = "https://learn.microsoft.com/dotnet/core/install/"


@dataclass(frozen=True, slots=True)
class App:
    """What `dotnet X.dll` runs. ``options`` are those that stand before the dll."""

    dll: Path
    options: Mapping[str, str]

    @property
    def config(self) -> Path:
        """Where its runtimeconfig.json is."""
        return self.dll.parent / self.options.get(
            "--runtimeconfig", f"{self.dll.stem}.runtimeconfig.json"
        )


def app_of(words: Sequence[str], cwd: Path) -> App | None:
    """Return the app of a command after its `dotnet`; None: it is one of the SDK's commands."""
    options: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        if word in _WITH_VALUE:
            options[word] = next(rest, "")
        elif word.lower().endswith((".dll", ".exe")) and not word.startswith("-"):
            return App(cwd / word, _absolute(options, cwd))
        elif word != "exec":
            return None
    return None


def fault_of(app: App, host: Host | None, environ: Mapping[str, str]) -> Fault | None:
    """Return why the app would not start; None: it would, as far as can be seen from outside.

    Without a host, or with one that gave no answer, only files are looked at.
    """
    if host is not None and host.fault is not None:
        return host.fault
    if not app.dll.is_file():
        return _no_dll(app.dll)
    options = _runtime_options(app)
    if isinstance(options, Fault):
        return options
    try:
        wanted = frameworks(options, environ, app.options.get("--roll-forward"))
    except ValueError as error:
        return _bad_config(app, str(error))
    if not wanted:
        return _self_contained(app)
    if host is None or host.frameworks is None:
        return None
    exact = app.options.get("--fx-version")
    if exact:
        wanted = (Framework(wanted[0].name, exact, "Disable"), *wanted[1:])
    for one in wanted:
        if resolve(one, host.frameworks.get(one.name, ())) is None:
            return _no_framework(app, one, host)
    return _no_icu(app, host, options, environ)


def not_found(dll: Path) -> str:
    """Return what was found near a dll that is not there, and what to do; empty if nothing."""
    base = next((folder for folder in dll.parents if folder.is_dir()), Path("/"))
    near = next(_runnable(base), None)
    if near is not None:
        return f"found {near.name} in {near.parent}: name that one"
    project = next(iter(sorted(base.glob("*.*proj"))), None)
    if project is not None:
        return f"build it: `dotnet publish {project}`"
    return ""


def install_hint(environ: Mapping[str, str]) -> str:
    """Return what to do where no `dotnet` is found: where one lies, or where to get it."""
    home = environ.get("HOME")
    folders = [*([environ["DOTNET_ROOT"]] if environ.get("DOTNET_ROOT") else []), *_USUAL]
    folders += [f"{home}/.dotnet"] if home else []
    for folder in folders:
        if (Path(folder) / "dotnet").is_file():
            return f"there is one in {folder}: put that folder on PATH"
    system = {"darwin": "macos", "win32": "windows"}.get(sys.platform, "linux")
    return f"install it ({_LEARN}{system}), or set DOTNET_ROOT to the folder it is in"


def _absolute(options: dict[str, str], cwd: Path) -> dict[str, str]:
    named = options.get("--runtimeconfig")
    return options | ({"--runtimeconfig": str(cwd / named)} if named else {})


def _no_dll(dll: Path) -> Fault:
    fix = not_found(dll) or "build it with `dotnet publish`, or correct its name"
    return Fault(f"there is no file '{dll}'", fix, may_come=True)


def _runnable(base: Path) -> Iterator[Path]:
    """Yield the dlls near a folder that have what a program needs beside them."""
    for pattern in _BUILT:
        for path in sorted(base.glob(pattern)):
            if path.with_name(f"{path.stem}.runtimeconfig.json").is_file():
                yield path


def _runtime_options(app: App) -> Mapping[str, Any] | Fault:
    try:
        text = app.config.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        fix = "copy the whole output folder, or run `dotnet publish`"
        return Fault(f"{app.dll.name} has no {app.config.name} beside it", fix, may_come=True)
    except (OSError, UnicodeDecodeError) as error:
        return _bad_config(app, (getattr(error, "strerror", None) or "it is no text").lower())
    try:
        # The host takes comments. Source: hostfxr's json_parser.
        content = json.loads(_COMMENTS.sub(lambda found: found[1] or "", text))
    except (ValueError, RecursionError):
        return _bad_config(app, "it is no JSON")
    options = content.get("runtimeOptions") if isinstance(content, dict) else None
    return options if isinstance(options, dict) else _bad_config(app, "it has no runtimeOptions")


def _bad_config(app: App, why: str) -> Fault:
    fix = "publish it again with `dotnet publish`"
    return Fault(f"cannot use {str(app.config)!r}: {why}", fix, may_come=True)


def _self_contained(app: App) -> Fault | None:
    if any(app.dll.parent.glob("*hostpolicy.*")):
        return None
    problem = f"{app.config.name} names no framework: {app.dll.name} brings its own, or should"
    return Fault(problem, "publish it again, or start its own program instead of `dotnet`")


def _no_framework(app: App, wanted: Framework, host: Host) -> Fault:
    """Tell a framework that is missing from one that is too old, or only newer."""
    installed = (host.frameworks or {}).get(wanted.name, ())
    version = parse(wanted.version)
    short = f"{version[0]}.{version[1]}" if version else wanted.version
    what = {
        "Microsoft.AspNetCore.App": "the ASP.NET Core runtime",
        "Microsoft.NETCore.App": "the .NET runtime",
    }.get(wanted.name, wanted.name)
    fix = f"install {what} {short}: {DOWNLOAD}/{short}"
    if not installed:
        base = wanted.name != "Microsoft.NETCore.App" and "Microsoft.NETCore.App" in (
            host.frameworks or {}
        )
        has = "only the base runtime" if base else "none of it"
    else:
        is_newer = newer(wanted, installed)
        has = f"only {'newer' if is_newer else 'older'} ones: {', '.join(installed)}"
        if is_newer:
            fix = f"{fix}, or set DOTNET_ROLL_FORWARD=Major"
    rule = "" if wanted.roll_forward == "Minor" else f" (rollForward {wanted.roll_forward})"
    return Fault(f"{app.dll.name} needs {wanted}{rule}, and {host.program!r} has {has}", fix)


def _no_icu(
    app: App, host: Host, options: Mapping[str, Any], environ: Mapping[str, str]
) -> Fault | None:
    properties = options.get("configProperties")
    properties = properties if isinstance(properties, dict) else {}
    by_environment = environ.get("DOTNET_SYSTEM_GLOBALIZATION_INVARIANT", "")
    by_file = str(properties.get("System.Globalization.Invariant", ""))
    if {by_environment.lower(), by_file.lower()} & {"1", "true"}:
        return None
    if "System.Globalization.AppLocalIcu" in properties:
        return None
    folders = [str(app.dll.parent), *environ.get("LD_LIBRARY_PATH", "").split(":"), *_LIBRARIES]
    if not lacks_icu(folders, _LOADER_CACHE) or not _is_plain_program(host.program):
        return None
    fix = "install libicu, or set DOTNET_SYSTEM_GLOBALIZATION_INVARIANT=1 in its `env`"
    return Fault(f"{app.dll.name} needs the ICU library, and no libicuuc is installed", fix)


def lacks_icu(folders: Sequence[str], loader_cache: Path) -> bool:
    """Whether the dynamic linker would find no ICU. Where it is not known how it looks: false.

    Source: ld.so(8), its cache and default folders; without a cache it has ways of its own.
    """
    try:
        cache = loader_cache.read_bytes()
    except OSError:
        return False
    if b"libicuuc.so" in cache:
        return False
    places = [Path(folder) for folder in folders if folder]
    return not any(
        found
        for place in places
        for found in (*place.glob("libicuuc.so*"), *place.glob("*/libicuuc.so*"))
    )


def _is_plain_program(program: str) -> bool:
    """Whether it is no script: one that sets the program's environment knows better than we."""
    try:
        with Path(program).open("rb") as file:
            return file.read(4) == b"\x7fELF"
    except OSError:
        return False
