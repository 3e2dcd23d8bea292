"""Which alternative of a `run` is taken, and why not the others."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from orchestrator.errors import ProgramMissing
from orchestrator.spec.launch import Chosen
from orchestrator.system.requirements import choose
from tests.unit.spec.files import project, write


def program(folder: Path, name: str, mode: int = 0o755) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text("#!/bin/sh\n")
    path.chmod(mode)
    return path


def chosen(folder: Path, run: str, environ: Mapping[str, str], more: str = "") -> Chosen:
    text = f"services: {{web: {{run: [{run}, {{command: [x]}}]{more}}}}}"
    made = project(folder, text, environ)
    return choose(made, made.services["web"], environ)


def test_the_first_alternative_whose_requirements_are_all_met_is_taken(tmp_path: Path) -> None:
    tool = program(tmp_path / "bin", "tool")
    file = write(tmp_path, "", "a/b.dll")
    environ = {"PATH": str(tmp_path / "bin")}
    run = "{requires: {program: tool, file: a/b.dll}, command: [y]}"
    assert chosen(tmp_path, run, environ) == Chosen(0, str(tool), str(file))
    run = f"{{requires: {{program: other}}, command: [z]}}, {run}"
    assert chosen(tmp_path, run, environ) == Chosen(
        1, str(tool), str(file), ((0, "'other' is not on PATH"),)
    )


def test_a_command_alone_requires_nothing(tmp_path: Path) -> None:
    made = project(tmp_path, "services: {web: {command: x}}")
    assert choose(made, made.services["web"], {}) == Chosen()


def test_each_alternative_that_was_passed_over_says_why(tmp_path: Path) -> None:
    program(tmp_path / "bin", "plain", 0o644)
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    run = ", ".join(
        f"{{requires: {{{one}}}, command: [x]}}"
        for one in (
            "program: plain",
            "program: ./tool",
            "program: bin/plain",
            "file: none.dll",
            "file: folder",
            "file: loop",
            "program: ''",
        )
    )
    found = chosen(tmp_path, run, {"PATH": str(tmp_path / "bin")})
    assert found.index == 7
    assert [why for _, why in found.skipped] == [
        "'plain' is not on PATH",
        "'./tool' is not there, or not executable",
        "'bin/plain' is not there, or not executable",
        f"there is no file '{tmp_path}/none.dll'",
        f"cannot use '{tmp_path}/folder': it is no file",
        f"cannot use '{tmp_path}/loop': too many levels of symbolic links",
        "'' is not on PATH",
    ]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may search every folder")
def test_a_folder_that_may_not_be_searched_is_no_accident(tmp_path: Path) -> None:
    write(tmp_path, "", "closed/x")
    (tmp_path / "closed").chmod(0)
    try:
        found = chosen(tmp_path, "{requires: {file: closed/x}, command: [y]}", {})
    finally:
        (tmp_path / "closed").chmod(0o755)
    assert found.skipped[0][1].endswith("closed/x': permission denied")


# A requirement that the user set.


def test_a_requirement_that_the_user_set_is_never_passed_over(tmp_path: Path) -> None:
    run = '{requires: {file: "${DLL:-none.dll}"}, command: [y]}'
    assert chosen(tmp_path, run, {}).index == 1
    with pytest.raises(ProgramMissing) as caught:
        chosen(tmp_path, run, {"DLL": "other.dll"})
    path = f"{tmp_path}/other.dll"
    assert str(caught.value) == (
        f"cannot start 'web': there is no file '{path}', and DLL asks for it; "
        "correct it, or unset it to have another alternative taken"
    )
    assert (caught.value.service, caught.value.looked_for) == ("web", path)
    assert caught.value.exit_code == 5


def test_one_that_the_env_file_set_neither(tmp_path: Path) -> None:
    write(tmp_path, "TOOL=none\n", ".env")
    with pytest.raises(ProgramMissing, match="'none' is not on PATH, and TOOL asks for it"):
        chosen(tmp_path, '{requires: {program: "${TOOL:-sh}"}, command: [y]}', {"PATH": "/bin"})


def test_an_empty_one_is_a_value(tmp_path: Path) -> None:
    run = '{requires: {file: "${DLL:-none.dll}"}, command: [y]}'
    with pytest.raises(ProgramMissing, match="it is no file, and DLL asks for it"):
        chosen(tmp_path, run, {"DLL": ""})


def test_what_every_login_sets_asks_for_nothing(tmp_path: Path) -> None:
    run = '{requires: {file: "${HOME}/none.dll"}, command: [y]}'
    assert chosen(tmp_path, run, {"HOME": str(tmp_path)}).index == 1


def test_when_no_alternative_is_met_all_reasons_are_told(tmp_path: Path) -> None:
    text = """\
        services:
          web:
            run:
            - {requires: {file: none.dll}, command: [x]}
            - {requires: {program: none}, command: [x]}
        """
    made = project(tmp_path, text)
    with pytest.raises(ProgramMissing) as caught:
        choose(made, made.services["web"], {"PATH": f"{tmp_path}/a:{tmp_path}/b"})
    assert str(caught.value) == (
        "cannot start 'web': no alternative of its `run` can be taken: "
        f"there is no file '{tmp_path}/none.dll'; 'none' is not on PATH"
    )
    assert caught.value.looked_for == "none"
    assert caught.value.places == (f"{tmp_path}/a", f"{tmp_path}/b")


# Where programs are looked for.

TOOL = "{requires: {program: tool}, command: [x]}"


def test_path_is_the_one_that_the_service_will_see(tmp_path: Path) -> None:
    for folder in ("up", "dotenv", "file", "service", "alternative"):
        program(tmp_path / folder, "tool")

    def found(run: str = TOOL, more: str = "", **environ: str) -> str | None:
        return chosen(tmp_path, run, environ, more).program

    assert found(PATH=f"{tmp_path}/up") == f"{tmp_path}/up/tool"
    write(tmp_path, f"PATH={tmp_path}/dotenv\n", ".env")
    assert found() == f"{tmp_path}/dotenv/tool"
    assert found(PATH=f"{tmp_path}/up") == f"{tmp_path}/up/tool"
    write(tmp_path, f"PATH={tmp_path}/file\n", "web.env")
    assert found(more=", env_file: web.env", PATH="/nowhere") == f"{tmp_path}/file/tool"
    more = f", env_file: web.env, env: {{PATH: '{tmp_path}/service:${{PATH}}'}}"
    assert found(more=more) == f"{tmp_path}/service/tool"
    run = f"{{requires: {{program: tool}}, env: {{PATH: '{tmp_path}/alternative'}}, command: [x]}}"
    assert found(run, more) == f"{tmp_path}/alternative/tool"


def test_without_a_path_the_system_has_one(tmp_path: Path) -> None:
    run = "{requires: {program: sh}, command: [x]}"
    assert chosen(tmp_path, run, {}).program == "/bin/sh"
    assert chosen(tmp_path, run, {"PATH": "/nowhere"}, ", env: {PATH: }").program == "/bin/sh"
    assert chosen(tmp_path, run, {"PATH": "/nowhere"}).program is None


def test_relative_folders_and_programs_count_from_the_file(tmp_path: Path) -> None:
    tool = program(tmp_path / "bin", "tool")
    assert chosen(tmp_path, TOOL, {"PATH": "bin"}).program == str(tool)
    run = "{requires: {program: bin/tool}, command: [x]}"
    assert chosen(tmp_path, run, {}).program == str(tool)
    here = program(tmp_path, "tool")
    assert chosen(tmp_path, TOOL, {"PATH": "/nowhere:"}).program == str(here)


def test_folders_that_only_the_start_knows_are_passed_over(tmp_path: Path) -> None:
    tool = program(tmp_path / "bin", "tool")
    more = f", env: {{PATH: '${{STATE_DIR}}/bin:{tmp_path}/bin'}}"
    assert chosen(tmp_path, TOOL, {}, more).program == str(tool)


def test_dotnet_is_looked_for_where_it_says_that_it_is(tmp_path: Path) -> None:
    dotnet = program(tmp_path / "sdk", "dotnet")
    program(tmp_path / "sdk", "tool")
    run = "{requires: {program: dotnet}, command: [x]}"
    environ = {"PATH": "/nowhere", "DOTNET_ROOT": str(tmp_path / "sdk")}
    assert chosen(tmp_path, run, environ).program == str(dotnet)
    assert chosen(tmp_path, run, environ, ", env: {DOTNET_ROOT: }").program is None
    assert chosen(tmp_path, run, {"PATH": "/nowhere", "DOTNET_ROOT": ""}).program is None
    assert chosen(tmp_path, TOOL, environ).program is None
    first = program(tmp_path / "bin", "dotnet")
    assert chosen(tmp_path, run, environ | {"PATH": str(first.parent)}).program == str(first)


# Files.


def test_a_file_counts_from_the_folder_of_the_file(tmp_path: Path) -> None:
    write(tmp_path, "", "up/x.dll")
    absolute = f"{{requires: {{file: {tmp_path}/up/x.dll}}, command: [y]}}"
    assert chosen(tmp_path, absolute, {}).file == f"{tmp_path}/up/x.dll"
    home = "{requires: {file: ~/x.dll}, command: [y]}"
    assert chosen(tmp_path, home, {"HOME": f"{tmp_path}/up"}).file == f"{tmp_path}/up/x.dll"
    assert chosen(tmp_path, home, {}).file is None


def test_dollars_in_a_name_are_dollars(tmp_path: Path) -> None:
    write(tmp_path, "", "${x}$$.dll")
    found = chosen(tmp_path, "{requires: {file: '$${x}$$$$.dll'}, command: [y]}", {})
    assert found.file == f"{tmp_path}/${{x}}$$.dll"
