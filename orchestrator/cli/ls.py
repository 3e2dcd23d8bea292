"""`ls`: this user's stacks."""

import json
from pathlib import Path

import click

from orchestrator.cli.stack import options_of, read_plan, states_home
from orchestrator.control.client import ControlClient, living_shims
from orchestrator.errors import ControlError


@click.command(name="ls")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table")
@click.pass_context
def command(context: click.Context, *, form: str) -> None:
    """List this user's stacks, those that run first."""
    home = states_home(options_of(context).environ)
    rows = [_row(folder) for folder in sorted(home.iterdir())] if home.is_dir() else []
    rows = sorted((row for row in rows if row["file"]), key=lambda row: row["state"] != "running")
    if form == "json":
        click.echo(json.dumps({"schema": 1, "stacks": rows}, ensure_ascii=False))
        return
    width = max((len(row["stack"]) for row in rows), default=0)
    for row in rows:
        click.echo(f"{row['stack'].ljust(width)}  {row['state']:<13}  {row['file']}")


def _row(state_dir: Path) -> dict[str, str]:
    plan = read_plan(state_dir)
    return {
        "id": state_dir.name,
        "stack": str(plan.get("name", "")),
        "file": str(plan.get("file", "")),
        "state": _state(state_dir),
    }


def _state(state_dir: Path) -> str:
    try:
        runtime_dir = Path((state_dir / "runtime").read_text(encoding="utf-8"))
    except OSError:
        return "down"
    try:
        ControlClient(runtime_dir, 2.0).stack()
    except ControlError:
        return "no supervisor" if living_shims(runtime_dir) else "down"
    return "running"
