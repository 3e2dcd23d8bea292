"""What a program said before it died: the line with the reason, wherever it was written."""

import re
from collections.abc import Sequence

_MOST_CHARACTERS = 300
_TRACEBACK = "Traceback (most recent call last):"

_MOST_AFTER_STACK = 20

# One of these stands in what told a reason; to look for them costs next to nothing.
_MARKS = (
    b"Unhandled exception.",
    b"You must install or update .NET",
    b"error while loading shared libraries: ",
    b"Couldn't find a valid ICU",
    _TRACEBACK.encode(),
)

# Groups of exceptions draw a frame around what is in them.
_FRAME = re.compile(r"^\s+[|+]\s")

_HINTS = (
    (
        re.compile(r"address (?:is )?already in use", re.IGNORECASE),
        "somebody else listens on its port",
    ),
    (
        re.compile(r"Unable to connect to any of the specified MySQL hosts"),
        "is its database up, and ConnectionStrings__DefaultConnection right?",
    ),
    (
        re.compile(r"Connection string '.*' not found"),
        "appsettings.json is read from the working directory: set `cwd` to the dll's folder",
    ),
    (re.compile(r"FormatException: Invalid url: "), "correct --urls or ASPNETCORE_URLS"),
    (
        re.compile(r"Dynamic port binding is not supported when binding to localhost"),
        "say http://127.0.0.1:0 instead of localhost",
    ),
    (
        re.compile(r"Could not load file or assembly|BadImageFormatException"),
        "publish it again, and copy the whole folder",
    ),
    (
        re.compile(r"Couldn't find a valid ICU package"),
        "install libicu, or set DOTNET_SYSTEM_GLOBALIZATION_INVARIANT=1",
    ),
)


def may_tell(written: bytes) -> bool:
    """Whether a reason may stand in what was written: ``reason_in`` finds none where not."""
    return any(mark in written for mark in _MARKS)


def reason_in(lines: Sequence[str]) -> str:
    """Return the line that tells why the program died, with what helps against it; empty if none.

    ``lines`` are the end of what the run wrote. Of several reasons the last one counts: what came
    before was survived.

    Source: the .NET host and runtime (`Unhandled exception. Type: words`, long before the end of
    the stack trace), Python (the line after the stack), the dynamic linker.
    """
    for number in range(len(lines) - 1, -1, -1):
        found = _at(lines, number)
        if found:
            return _with_hint(found[:_MOST_CHARACTERS])
    return ""


def _at(lines: Sequence[str], number: int) -> str:
    """Return the reason that is told from this line on; empty if none is."""
    line = lines[number].strip()
    if line.startswith("Unhandled exception. "):
        return _without_method(line.removeprefix("Unhandled exception. "))
    if line == "Unhandled exception." and number + 1 < len(lines):
        return lines[number + 1].strip()
    if line.startswith("You must install or update .NET"):
        return _host_refused(lines[number:])
    if "error while loading shared libraries: " in line or "Couldn't find a valid ICU" in line:
        return line
    if _FRAME.sub("", lines[number]).removeprefix("Exception Group ").strip() == _TRACEBACK:
        return _after_stack(lines[number + 1 :])
    return ""


def _without_method(line: str) -> str:
    """Return the line without the stack that follows on it where the message had no end."""
    return line.partition("   at ")[0].strip()


def _host_refused(lines: Sequence[str]) -> str:
    """Return what .NET's host asks for, with the framework that is missing."""
    missing = next((line for line in lines if line.startswith("Framework: ")), "")
    return f"{lines[0].strip()} {missing.strip()}".strip()


def _after_stack(lines: Sequence[str]) -> str:
    """Return the exception of a Python traceback: the first line that is not of its stack.

    One that much was written after was only logged: the program lived on.
    """
    for number, line in enumerate(lines):
        plain = _FRAME.sub("", line)
        if plain.strip() and not plain.startswith(" "):
            return plain.strip() if len(lines) - number <= _MOST_AFTER_STACK else ""
    return ""


def _with_hint(reason: str) -> str:
    for pattern, hint in _HINTS:
        if pattern.search(reason):
            return f"{reason} ({hint})"
    return reason
