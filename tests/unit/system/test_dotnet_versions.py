"""Which framework .NET's host takes, row by row of its rules."""

import pytest

from orchestrator.system.dotnet_versions import Framework, frameworks, newer, parse, resolve

NAME = "Microsoft.NETCore.App"
MANY = ("8.0.4", "8.0.20", "8.2.1", "8.2.0", "10.0.0-rc.1", "10.0.12", "10.1.3", "12.0.0-preview.2")


@pytest.mark.parametrize(
    ("wanted", "policy", "taken"),
    [
        ("8.0.0", "Minor", "8.0.20"),
        ("8.0.21", "Minor", "8.2.1"),
        ("8.1.0", "Minor", "8.2.1"),
        ("8.3.0", "Minor", None),
        ("9.0.0", "Minor", None),
        ("11.0.0", "Minor", None),
        ("8.0.0", "LatestPatch", "8.0.20"),
        ("8.1.0", "LatestPatch", None),
        ("8.0.21", "LatestPatch", None),
        ("8.0.0", "LatestMinor", "8.2.1"),
        ("9.0.0", "LatestMinor", None),
        ("8.0.0", "Major", "8.0.20"),
        ("9.0.0", "Major", "10.0.12"),
        ("10.2.0", "Major", "12.0.0-preview.2"),
        ("13.0.0", "Major", None),
        ("8.0.0", "LatestMajor", "10.1.3"),
        ("8.0.4", "Disable", "8.0.4"),
        ("8.0.5", "Disable", None),
        ("10.0.0-preview.7", "Minor", "10.0.12"),
        ("12.0.0-preview.1", "Minor", "12.0.0-preview.2"),
        ("12.0.0", "Minor", None),
        ("nonsense", "Major", None),
    ],
)
def test_the_host_takes(wanted: str, policy: str, taken: str | None) -> None:
    assert resolve(Framework(NAME, wanted, policy), MANY) == taken


def test_versions_are_ordered_as_numbers_and_a_release_after_what_came_before_it() -> None:
    ordered = ["9.0.0", "10.0.0-preview.2", "10.0.0-preview.10", "10.0.0-rc.1", "10.0.0", "10.0.9"]
    found = [parse(text) for text in ordered]
    assert None not in found
    assert found == sorted(found, key=lambda one: one or (0, 0, 0, False, ()))
    assert [parse(text) for text in ("10", "10.0", "x.y.z", "")] == [None] * 4


def test_newer_is_later_than_what_is_asked_for() -> None:
    assert newer(Framework(NAME, "9.0.0"), ["8.0.1", "10.0.0"])
    assert not newer(Framework(NAME, "11.0.0"), ["8.0.1", "10.0.0"])


ONE = {"name": NAME, "version": "9.0.0"}


@pytest.mark.parametrize(
    ("options", "environ", "forced", "policy"),
    [
        ({"framework": ONE}, {}, None, "Minor"),
        ({"framework": ONE, "rollForward": "major"}, {}, None, "Major"),
        (
            {"framework": ONE | {"rollForward": "Disable"}, "rollForward": "Major"},
            {},
            None,
            "Disable",
        ),
        ({"framework": ONE, "rollForwardOnNoCandidateFx": 2}, {}, None, "Major"),
        ({"framework": ONE, "rollForwardOnNoCandidateFx": 0}, {}, None, "LatestPatch"),
        (
            {"framework": ONE | {"rollForward": "Minor"}},
            {"DOTNET_ROLL_FORWARD": "Major"},
            None,
            "Major",
        ),
        ({"framework": ONE}, {"DOTNET_ROLL_FORWARD": "Major"}, "LatestPatch", "LatestPatch"),
    ],
)
def test_how_far_the_host_may_go(
    options: dict[str, object], environ: dict[str, str], forced: str | None, policy: str
) -> None:
    assert frameworks(options, environ, forced) == (Framework(NAME, "9.0.0", policy),)


def test_several_frameworks_are_all_asked_for_and_none_by_what_brings_its_own() -> None:
    two = [ONE, {"name": "Microsoft.AspNetCore.App", "version": "9.0.1"}]
    found = frameworks({"frameworks": two}, {})
    assert [str(one) for one in found] == [f"{NAME} 9.0.0", "Microsoft.AspNetCore.App 9.0.1"]
    assert frameworks({"includedFrameworks": two}, {}) == ()


@pytest.mark.parametrize("bad", [{"framework": {"name": NAME}}, {"frameworks": ["x"]}])
def test_a_framework_without_name_or_version_is_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="no name, or no version"):
        frameworks(bad, {})
