"""The line of a dead program's output that tells why it died."""

from collections.abc import Sequence

import pytest

from orchestrator.core import reasons

STACK = [f"   at Program.Deep{number}()" for number in range(40)]


def reason_in(lines: Sequence[str]) -> str:
    """Return the reason, which the cheap look must not have passed over."""
    found = reasons.reason_in(lines)
    assert not found or reasons.may_tell("\n".join(lines).encode())
    return found


def test_the_line_of_the_unhandled_exception_is_found_above_its_stack() -> None:
    lines = [
        "fail: Microsoft.Extensions.Hosting.Internal.Host[11]",
        "Unhandled exception. System.IO.InvalidDataException: the store is torn",
        *STACK,
    ]
    assert reason_in(lines) == "System.IO.InvalidDataException: the store is torn"


def test_a_reason_on_a_line_of_its_own_is_the_one_after_the_words() -> None:
    lines = ["Unhandled exception.", "System.Exception: no", *STACK]
    assert reason_in(lines) == "System.Exception: no"


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("Failed to bind to address http://127.0.0.1:1: address already in use.", "somebody else"),
        ("Unable to connect to any of the specified MySQL hosts.", "is its database up"),
        ("Connection string 'DefaultConnection' not found.", "set `cwd` to the dll's folder"),
        ("System.FormatException: Invalid url: 'x'", "correct --urls"),
        ("Dynamic port binding is not supported when binding to localhost.", "127.0.0.1:0"),
        ("Could not load file or assembly 'Quartz'.", "publish it again"),
        ("System.BadImageFormatException: bad", "publish it again"),
    ],
)
def test_a_known_reason_comes_with_what_helps(said: str, hint: str) -> None:
    found = reason_in([f"Unhandled exception. {said}", *STACK])
    assert found.startswith(f"{said} (")
    assert hint in found


def test_the_host_that_finds_no_runtime_names_the_framework() -> None:
    lines = [
        "You must install or update .NET to run this application.",
        "",
        "App: /x/App.dll",
        "Framework: 'Microsoft.NETCore.App', version '9.0.0' (x64)",
        "The following frameworks were found:",
    ]
    assert reason_in(lines) == (
        "You must install or update .NET to run this application. "
        "Framework: 'Microsoft.NETCore.App', version '9.0.0' (x64)"
    )


def test_a_missing_library_is_told_as_the_linker_says_it() -> None:
    said = "dotnet: error while loading shared libraries: libstdc++.so.6: cannot open it"
    assert reason_in([said]) == said


def test_a_traceback_ends_with_its_exception() -> None:
    lines = [
        "starting",
        "Traceback (most recent call last):",
        '  File "x.py", line 1, in <module>',
        "    raise KeyError('a')",
        "KeyError: 'a'",
    ]
    assert reason_in(lines) == "KeyError: 'a'"


def test_of_a_chain_of_exceptions_the_last_one_counts() -> None:
    one = ["Traceback (most recent call last):", '  File "x.py", line 1, in f', "ValueError: first"]
    between = ["", "During handling of the above exception, another exception occurred:", ""]
    two = ["Traceback (most recent call last):", '  File "x.py", line 3, in g', "OSError: second"]
    assert reason_in([*one, *between, *two, "more of the message"]) == "OSError: second"


def test_a_group_of_exceptions_tells_what_is_in_it() -> None:
    lines = [
        "  + Exception Group Traceback (most recent call last):",
        '  |   File "x.py", line 7, in <module>',
        "  | ExceptionGroup: unhandled errors in a TaskGroup (1 sub-exception)",
        "  +-+---------------- 1 ----------------",
        "    | Traceback (most recent call last):",
        '    |   File "x.py", line 3, in a',
        "    | KeyError: 'x'",
        "    +------------------------------------",
    ]
    assert reason_in(lines) == "KeyError: 'x'"


def test_a_traceback_that_was_only_logged_is_no_reason() -> None:
    logged = ["Traceback (most recent call last):", '  File "x.py", line 1, in f', "OSError: x"]
    assert not reason_in([*logged, *(f"request {number}" for number in range(30))])


def test_other_output_tells_no_reason_and_a_long_one_is_cut() -> None:
    assert not reason_in([])
    assert not reason_in(["bye", "Traceback (most recent call last):", "  File"])
    assert len(reason_in(["Unhandled exception. " + "x" * 5000])) == 300
