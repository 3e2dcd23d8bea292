"""Every way in which a .NET app would not start, told apart before the start, with its fix."""

import json
import platform
import struct
import time
from pathlib import Path

import pytest

from orchestrator.errors import ProgramMissing
from orchestrator.spec.launch import Chosen
from orchestrator.system.dotnet import app_of, lacks_icu
from orchestrator.system.dotnet_host import Host, Hosts
from orchestrator.system.requirements import choose, dotnet_of
from tests.unit.spec.files import project

BASE, WEB = "Microsoft.NETCore.App", "Microsoft.AspNetCore.App"
TEN = f"{WEB} 10.0.12 [/x/shared]\n{BASE} 10.0.12 [/x/shared]\n"
PLAIN = "{command: [dotnet, app/App.dll, --urls, 'http://localhost:1']}"
TWO = """\
{run: [{requires: {program: dotnet, file: app/App.dll},
        command: ['${requires.program}', '${requires.file}'], cwd: '${requires.file.dir}'},
       {command: [x]}]}"""


def dotnet(folder: Path, lines: str = TEN, code: int = 0, err: str = "", more: str = "") -> Path:
    """Write a program `dotnet` that lists these runtimes, and notes that it was asked."""
    home = folder / "host"
    home.mkdir(exist_ok=True)
    path = home / "dotnet"
    said = f"/bin/cat <<'END'\n{lines}END\n/bin/cat >&2 <<'END'\n{err}\nEND\n"
    path.write_text(f"#!/bin/sh\necho asked >> {folder}/asked\n{more}\n{said}exit {code}\n")
    path.chmod(0o755)
    return path


def app(folder: Path, *wanted: str, name: str = "App", **options: object) -> Path:
    """Write a dll with a runtimeconfig.json that asks for these frameworks."""
    (folder / "app").mkdir(exist_ok=True)
    asked = [dict(zip(("name", "version"), one.split(), strict=True)) for one in wanted]
    content = {"runtimeOptions": {"frameworks": asked, **options}}
    (folder / "app" / f"{name}.runtimeconfig.json").write_text(json.dumps(content))
    dll = folder / "app" / f"{name}.dll"
    dll.write_bytes(b"MZ")
    return dll


def taken(folder: Path, service: str = PLAIN, hosts: Hosts | None = None, **environ: str) -> Chosen:
    around = {"PATH": f"{folder}/host", **environ}
    made = project(folder, f"services: {{web: {service}}}", around)
    return choose(made, made.services["web"], around, (hosts or Hosts()).ask)


def refused(folder: Path, service: str = PLAIN, **environ: str) -> str:
    with pytest.raises(ProgramMissing) as caught:
        taken(folder, service, None, **environ)
    assert caught.value.exit_code == 5
    return str(caught.value)


# Runtimes.


def test_an_app_whose_frameworks_are_there_is_taken(tmp_path: Path) -> None:
    dotnet(tmp_path)
    app(tmp_path, f"{BASE} 10.0.0", f"{WEB} 10.0.0")
    assert taken(tmp_path).index == 0


def test_only_newer_runtimes_are_told_with_the_way_to_use_them(tmp_path: Path) -> None:
    host = dotnet(tmp_path)
    app(tmp_path, f"{BASE} 9.0.0")
    assert refused(tmp_path) == (
        f"cannot start 'web': App.dll needs {BASE} 9.0.0, and '{host}' has only newer ones: "
        "10.0.12; install the .NET runtime 9.0: https://dotnet.microsoft.com/download/dotnet/9.0, "
        "or set DOTNET_ROLL_FORWARD=Major"
    )
    assert taken(tmp_path, DOTNET_ROLL_FORWARD="Major").index == 0
    declared = PLAIN[:-1] + ", env: {DOTNET_ROLL_FORWARD: Major}}"
    assert taken(tmp_path, declared).index == 0
    app(tmp_path, f"{BASE} 9.0.0", rollForward="Major")
    assert taken(tmp_path).index == 0


def test_only_older_runtimes_cannot_be_rolled_forward_to(tmp_path: Path) -> None:
    dotnet(tmp_path)
    app(tmp_path, f"{BASE} 11.0.0")
    text = refused(tmp_path)
    assert "has only older ones: 10.0.12; install the .NET runtime 11.0" in text
    assert "ROLL_FORWARD" not in text


def test_a_base_runtime_without_that_of_asp_net_says_which_to_install(tmp_path: Path) -> None:
    dotnet(tmp_path, f"{BASE} 10.0.12 [/x]\n")
    app(tmp_path, f"{BASE} 10.0.0", f"{WEB} 10.0.0")
    text = refused(tmp_path)
    assert f"needs {WEB} 10.0.0" in text
    assert "has only the base runtime; install the ASP.NET Core runtime 10.0" in text


def test_a_host_without_any_runtime_says_so(tmp_path: Path) -> None:
    dotnet(tmp_path, "")
    app(tmp_path, f"{BASE} 10.0.0")
    assert "has none of it; install the .NET runtime 10.0" in refused(tmp_path)


def test_options_before_the_dll_count(tmp_path: Path) -> None:
    dotnet(tmp_path)
    app(tmp_path, f"{BASE} 9.0.0")
    forward = "{command: [dotnet, --roll-forward, Major, app/App.dll]}"
    assert taken(tmp_path, forward).index == 0
    exact = "{command: [dotnet, exec, --fx-version, 10.0.11, app/App.dll]}"
    assert f"needs {BASE} 10.0.11 (rollForward Disable)" in refused(tmp_path, exact)


# The host.


def test_a_library_that_the_host_lacks_is_named(tmp_path: Path) -> None:
    said = "dotnet: error while loading shared libraries: libstdc++.so.6: cannot open shared object"
    dotnet(tmp_path, "", 127, said)
    app(tmp_path, f"{BASE} 10.0.0")
    text = refused(tmp_path)
    assert "libstdc++.so.6 is missing; install libstdc++6 or libstdc++" in text


def test_a_host_for_another_processor_is_told(tmp_path: Path) -> None:
    host = dotnet(tmp_path)
    number = 183 if platform.machine() == "x86_64" else 62
    other = "aarch64" if number == 183 else "x86_64"
    head = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HH", 2, number)
    host.write_bytes(head + bytes(100))
    app(tmp_path, f"{BASE} 10.0.0")
    text = refused(tmp_path)
    assert f"is for {other}, and this machine is {platform.machine()}; install" in text


def test_a_host_whose_loader_is_missing_is_told(tmp_path: Path) -> None:
    dotnet(tmp_path).write_text("#!/nowhere/ld-musl.so.1\n")
    app(tmp_path, f"{BASE} 10.0.0")
    assert "its loader is not there" in refused(tmp_path)


def test_a_host_that_fails_tells_its_first_words(tmp_path: Path) -> None:
    dotnet(tmp_path, "", 131, "A fatal error occurred. The folder [host/fxr] does not exist")
    app(tmp_path, f"{BASE} 10.0.0")
    text = refused(tmp_path)
    assert "--list-runtimes ended with exit code 131: A fatal error occurred." in text


def test_a_host_that_does_not_answer_forbids_nothing(tmp_path: Path) -> None:
    host = dotnet(tmp_path, more="/bin/sleep 60")
    app(tmp_path, f"{BASE} 9.0.0")
    started = time.monotonic()
    hosts = Hosts(answer_s=0.2)
    assert hosts.ask(str(host), {}) == Host(str(host))
    assert taken(tmp_path, hosts=hosts).index == 0
    assert time.monotonic() - started < 5


def test_no_dotnet_at_all_says_where_one_lies_or_how_to_get_it(tmp_path: Path) -> None:
    app(tmp_path, f"{BASE} 10.0.0")
    nowhere = {"PATH": str(tmp_path / "none"), "HOME": str(tmp_path)}
    assert "'dotnet' is not on PATH; " in refused(tmp_path, **nowhere)
    root = str(dotnet(tmp_path).parent)
    text = refused(tmp_path, **nowhere, DOTNET_ROOT=root)
    assert text.endswith(
        f"'dotnet' is not on PATH; there is one in {root}: put that folder on PATH"
    )


def test_the_host_in_dotnet_root_is_asked_where_requires_found_it(tmp_path: Path) -> None:
    root = str(dotnet(tmp_path).parent)
    app(tmp_path, f"{BASE} 9.0.0")
    found = taken(tmp_path, TWO, PATH="/nowhere", DOTNET_ROOT=root)
    assert (found.index, found.broken) == (1, (0,))
    app(tmp_path, f"{BASE} 10.0.0")
    found = taken(tmp_path, TWO, PATH="/nowhere", DOTNET_ROOT=root)
    assert (found.index, found.program) == (0, f"{root}/dotnet")


def test_each_host_is_asked_once_and_none_for_other_services(tmp_path: Path) -> None:
    dotnet(tmp_path)
    app(tmp_path, f"{BASE} 10.0.0")
    around = {"PATH": f"{tmp_path}/host"}
    run = f"[{PLAIN[:-1]}, requires: {{program: dotnet}}}}, {PLAIN}]"
    text = f"services: {{web: {{run: {run}}}, other: {{command: [sh]}}}}"
    made = project(tmp_path, text, around)
    hosts = Hosts()
    for _ in range(3):
        choose(made, made.services["web"], around, hosts.ask)
        choose(made, made.services["other"], around, hosts.ask)
    assert (tmp_path / "asked").read_text() == "asked\n"
    assert len(list(dotnet_of(made, made.services["web"], around))) == 2
    assert not list(dotnet_of(made, made.services["other"], around))


# Files.


def test_a_dll_that_is_not_built_names_one_that_is(tmp_path: Path) -> None:
    dotnet(tmp_path)
    app(tmp_path, f"{BASE} 10.0.0", name="Other")
    assert f"there is no file '{tmp_path}/app/App.dll'; found Other.dll in " in refused(tmp_path)


def test_a_dll_that_is_not_built_names_its_project(tmp_path: Path) -> None:
    dotnet(tmp_path)
    assert "; build it with `dotnet publish`, or correct its name" in refused(tmp_path)
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "App.csproj").touch()
    text = refused(tmp_path)
    assert f"build it: `dotnet publish {tmp_path}/app/App.csproj`" in text
    built = tmp_path / "app" / "bin" / "Debug" / "net10.0"
    built.mkdir(parents=True)
    app(built, f"{BASE} 10.0.0").rename(built / "App.dll")
    (built / "app" / "App.runtimeconfig.json").rename(built / "App.runtimeconfig.json")
    assert f"found App.dll in {built}: name that one" in refused(tmp_path)


def test_what_a_one_shot_may_yet_build_is_no_fault_before_it_ran(tmp_path: Path) -> None:
    dotnet(tmp_path)
    around = {"PATH": f"{tmp_path}/host"}
    web = PLAIN[:-1] + ", depends_on: {build: completed}}"
    text = f"services: {{web: {web}, build: {{command: [sh], oneshot: true}}}}"
    made = project(tmp_path, text, around)
    web_service = made.services["web"]
    assert choose(made, web_service, around, Hosts().ask, before_needs=True).index == 0
    with pytest.raises(ProgramMissing):
        choose(made, web_service, around, Hosts().ask)


def test_a_dll_that_was_copied_alone_is_told(tmp_path: Path) -> None:
    dotnet(tmp_path)
    app(tmp_path).with_name("App.runtimeconfig.json").unlink()
    text = refused(tmp_path)
    assert "App.dll has no App.runtimeconfig.json beside it; copy the whole output folder" in text


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"runtimeOptions": 1}', "\xff\xfe"])
def test_a_runtimeconfig_that_is_none_is_told(tmp_path: Path, content: str) -> None:
    dotnet(tmp_path)
    app(tmp_path).with_name("App.runtimeconfig.json").write_bytes(content.encode("latin-1"))
    text = refused(tmp_path)
    assert "App.runtimeconfig.json': it " in text
    assert text.endswith("publish it again with `dotnet publish`")


def test_comments_and_a_mark_at_the_beginning_are_read_over(tmp_path: Path) -> None:
    dotnet(tmp_path)
    dll = app(tmp_path, f"{BASE} 9.0.0")
    config = dll.with_name("App.runtimeconfig.json")
    config.write_text("\ufeff// made by hand: http://x\n/* two\nlines */" + config.read_text())
    assert "needs" in refused(tmp_path)


def test_an_app_that_brings_its_own_runtime_is_told_to_start_its_own_program(
    tmp_path: Path,
) -> None:
    dotnet(tmp_path)
    dll = app(tmp_path)
    assert "names no framework" in refused(tmp_path)
    dll.with_name("libhostpolicy.so").touch()
    assert taken(tmp_path).index == 0


# Alternatives.


def test_a_broken_alternative_is_passed_over_and_says_why(tmp_path: Path) -> None:
    dotnet(tmp_path)
    app(tmp_path, f"{BASE} 9.0.0")
    found = taken(tmp_path, TWO)
    assert (found.index, found.broken) == (1, (0,))
    assert "App.dll needs" in found.skipped[0][1]
    assert "DOTNET_ROLL_FORWARD=Major" in found.skipped[0][1]


def test_one_that_is_not_there_is_passed_over_and_is_not_broken(tmp_path: Path) -> None:
    dotnet(tmp_path)
    found = taken(tmp_path, TWO)
    assert (found.index, found.broken) == (1, ())


def test_a_broken_one_that_the_user_asked_for_is_an_error_with_its_fix(tmp_path: Path) -> None:
    dotnet(tmp_path)
    dll = app(tmp_path, f"{BASE} 9.0.0")
    text = refused(tmp_path, TWO.replace("app/App.dll", '"${DLL:-none.dll}"'), DLL=str(dll))
    assert ", and DLL asks for it; install the .NET runtime 9.0" in text
    assert text.endswith("or unset it to have another alternative taken")


@pytest.mark.parametrize("words", ["run, --project, x", "watch", "--info", "build, x.csproj", ""])
def test_the_sdk_s_own_commands_are_let_be(tmp_path: Path, words: str) -> None:
    assert app_of(words.split(", "), tmp_path) is None
    assert taken(tmp_path, f"{{command: [dotnet, {words}]}}", PATH="/nowhere").index == 0


def test_what_only_the_start_tells_is_not_judged(tmp_path: Path) -> None:
    assert taken(tmp_path, "{command: [dotnet, '${STATE_DIR}/App.dll']}").index == 0


# ICU.


def test_icu_is_found_in_the_linker_s_cache_or_in_a_folder(tmp_path: Path) -> None:
    cache = tmp_path / "ld.so.cache"
    assert not lacks_icu([str(tmp_path)], cache)
    cache.write_bytes(b"...libc.so.6...")
    assert lacks_icu([str(tmp_path), ""], cache)
    below = tmp_path / "x86_64-linux-gnu"
    below.mkdir()
    (below / "libicuuc.so.72").touch()
    assert not lacks_icu([str(tmp_path)], cache)
    assert not lacks_icu([str(below)], cache)
    cache.write_bytes(b"...libicuuc.so.72...")
    assert not lacks_icu([], cache)
