"""The files that say what runs: services.yaml as a tree, env files as values."""

from pathlib import Path
from typing import Any

import yaml

from orchestrator.errors import Problem
from orchestrator.spec import dotenv
from orchestrator.spec.problems import Problems
from orchestrator.spec.tree import TooLarge, Where, read

_MAX_BYTES = 5 * 1024 * 1024
_TAB = "a tab: YAML is indented with spaces"
_SAID = {
    "found character that cannot start any token": "a character that cannot begin anything here",
    "mapping values are not allowed in this context": 'a ": " that stands for no key here: '
    "put the text in quotes",
    "but found another document": "a second document (`---`); one is read",
}


def read_services(file: Path, problems: Problems) -> dict[str, Any]:
    """Return the top of services.yaml; ``problems`` knows its places from then on.

    Raises:
        SpecError: it can't be read, is no YAML, or no mapping.
    """
    text = _text(file, problems)
    try:
        problems.read(read(text))
    except yaml.MarkedYAMLError as error:
        problems.add(_syntax(error, text, problems.shown))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        message = f"is no YAML: it holds the control character U+{error.character:04X}"
        problems.add(Problem(problems.shown, line, None, "", message))
    except TooLarge as error:
        problems.report((), str(error))
    top = problems.tree.value
    if isinstance(top, dict):
        return dict(top)
    problems.fail_if_any()
    empty = top is None
    problems.report((), f"{'is empty: it needs' if empty else 'must be a mapping with'} `services`")
    raise problems.error()


def _text(file: Path, problems: Problems) -> str:
    data = b""
    try:
        with file.open("rb") as stream:
            data = stream.read(_MAX_BYTES + 1)
    except OSError as error:
        problems.report((), f"cannot be read: {reason(error)}")
    if len(data) > _MAX_BYTES:
        problems.report((), "is larger than 5 MiB")
    problems.fail_if_any()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        problems.add(Problem(problems.shown, line, None, "", "is not UTF-8"))
        raise problems.error() from error


def _syntax(error: yaml.MarkedYAMLError, text: str, shown: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (None, None)
    lines = text.splitlines()
    here = lines[mark.line] if mark and mark.line < len(lines) else ""
    said = str(error.problem or error.context)
    message = _SAID.get(said, said)
    if mark and here[mark.column : mark.column + 1] == "\t":
        message = _TAB
    elif "${" in here and message == said:
        message += "; in [ ] and { } a text with ${…} needs quotes"
    elif error.context and error.context_mark and message == said:
        message += f" {error.context} of line {error.context_mark.line + 1}"
    return Problem(shown, line, column, "", f"is no YAML: {message}")


def read_env_file(
    path: Path, problems: Problems, *, shown: str, where: Where | None = None, required: bool
) -> dict[str, str]:
    """Return the values of an env file; a missing one has none unless it is ``required``.

    ``shown`` is how messages call it, ``where`` the place in services.yaml that names it.
    """

    def cannot(why: str) -> dict[str, str]:
        if where is None:
            problems.add(Problem(shown, None, None, "", f"cannot be read: {why}"))
        else:
            problems.report(where, f"cannot read {shown!r}: {why}")
        return {}

    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_BYTES + 1)
        text = data.decode("utf-8")
    except FileNotFoundError as error:
        return cannot(reason(error)) if required else {}
    except OSError as error:
        return cannot(reason(error))
    except UnicodeDecodeError:
        return cannot("it is not UTF-8")
    if len(data) > _MAX_BYTES:
        return cannot("it is larger than 5 MiB")
    values, malformed = dotenv.parse(text)
    for one in malformed:
        problems.add(Problem(shown, one.line, None, "", one.message))
    return values


def reason(error: OSError) -> str:
    """Return the system's reason in lower case, as it stands within a sentence."""
    return (error.strerror or str(error)).lower()
