"""The manual says what the code does: commands, flags, keys, exit codes."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from pydantic import BaseModel

from orchestrator.cli.main import COMMANDS, cli
from orchestrator.cli.scheduler import COMMANDS as SCHEDULER_COMMANDS
from orchestrator.control.wire import kinds
from orchestrator.spec.model import Project
from orchestrator.spec.words import keys_at

DOCS = Path(__file__).parents[2] / "docs"
OWN = {"name", "file", "run", "env_file_values", "set_by_user"}


def section(name: str) -> str:
    """Return the part of the manual of commands under one heading."""
    text = (DOCS / "commands.md").read_text()
    return text.partition(f"\n## {name}\n")[2].partition("\n## ")[0]


def command(name: str) -> click.Command:
    found = cli.get_command(click.Context(cli), name)
    assert found is not None
    return found


def parameters(name: str) -> list[click.Parameter]:
    """Return the parameters of a command, and of those beneath it."""
    top = command(name)
    found = list(top.params)
    if isinstance(top, click.Group):
        context = click.Context(top)
        beneath = [top.get_command(context, one) for one in top.list_commands(context)]
        found += [one for below in beneath if below is not None for one in below.params]
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_each_flag_of_a_command_stands_in_the_manual(name: str) -> None:
    text = section(name)
    assert text, f"docs/commands.md has no part {name!r}"
    for parameter in parameters(name):
        if isinstance(parameter, click.Option):
            for flag in parameter.opts:
                assert f"`{flag}`" in text, (name, flag)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_flag_of_the_manual_is_one_of_the_command(name: str) -> None:
    known = {flag for one in parameters(name) for flag in one.opts}
    known |= {"--wait-timeout"} if name == "up" else set()
    rows = [line for line in section(name).splitlines() if line.startswith("| `-")]
    for row in rows:
        for flag in re.findall(r"`(--?[a-z-]+)`", row.split("|")[1]):
            assert flag in known, (name, flag)


@pytest.mark.parametrize("name", SCHEDULER_COMMANDS)
def test_each_command_for_schedulers_stands_in_the_manual(name: str) -> None:
    assert re.search(rf"^\| `scheduler {name}\b", section("scheduler"), re.MULTILINE)


def test_each_command_of_the_manual_is_there() -> None:
    headings = re.findall(r"^## (\S+)$", (DOCS / "commands.md").read_text(), re.MULTILINE)
    assert sorted(headings) == sorted(COMMANDS)


def test_each_exit_code_of_an_error_stands_in_the_manual() -> None:
    text = (DOCS / "exit-codes.md").read_text()
    for kind in kinds().values():
        assert f"| {kind.exit_code} |" in text, kind


def models(model: Any = Project) -> Iterator[type[BaseModel]]:
    """Yield every model of services.yaml."""
    seen: list[type[BaseModel]] = []

    def visit(annotation: Any) -> None:
        is_model = isinstance(annotation, type) and issubclass(annotation, BaseModel)
        if is_model and annotation not in seen:
            seen.append(annotation)
            for field in annotation.model_fields.values():
                visit(field.annotation)
        for inner in getattr(annotation, "__args__", ()):
            visit(inner)

    visit(model)
    yield from seen


def test_each_key_of_the_file_stands_in_the_manual() -> None:
    text = (DOCS / "services-yaml.md").read_text()
    for model in models():
        for name, field in model.model_fields.items():
            key = field.alias or name
            if key not in OWN and not field.exclude:
                assert re.search(rf"\b{re.escape(key)}\b", text), (model.__name__, key)


def test_each_key_that_the_manual_lists_is_one_of_the_file() -> None:
    text = (DOCS / "services-yaml.md").read_text().partition("## A service")[2]
    table = text.partition("\n### ")[0]
    listed = re.findall(r"^\| `([a-z_]+)` \|", table, re.MULTILINE)
    known = {*keys_at(Project, ("services", "x")), "command", "shell", "run"}
    assert listed
    assert set(listed) <= known


def test_the_changelog_has_the_version_or_what_is_unreleased_on_top() -> None:
    text = (DOCS.parent / "CHANGELOG.md").read_text()
    assert re.search(r"^## (Unreleased|\d+\.\d+\.\d+)", text, re.MULTILINE)


@pytest.mark.parametrize("page", [*sorted(DOCS.glob("*.md")), DOCS.parent / "README.md"])
def test_each_link_of_a_page_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), (page.name, target)
