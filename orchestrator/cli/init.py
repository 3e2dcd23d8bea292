"""`init`: a first services.yaml to go on from."""

from pathlib import Path

import click

from orchestrator.errors import OrchestratorError

_FIRST = """\
# What belongs together here. `orchestrator up` starts it, `orchestrator config` shows it in full.
name: {name}

services:
  web:
    command: ["${{PYTHON}}", -m, http.server, "${{PORT}}", --bind, 127.0.0.1]
    port: 8000
    health: {{http: /}}

  # worker:
  #   command: python worker.py
  #   depends_on: [web]
  #   env: {{WEB_URL: "${{services.web.url}}"}}
"""


@click.command(name="init")
@click.option("--force", is_flag=True, help="Write over a file that is there.")
def command(*, force: bool) -> None:
    """Write a first services.yaml into the current folder."""
    path = Path("services.yaml")
    if path.exists() and not force:
        raise OrchestratorError(f"{path} is already there; --force writes over it")
    path.write_text(_FIRST.format(name=_name()), encoding="utf-8")
    click.echo(f"wrote {path}; `orchestrator up` starts it")


def _name() -> str:
    kept = "".join(one if one.isalnum() or one in "-_" else "-" for one in Path.cwd().name)
    return kept.strip("-") or "stack"
