"""`scheduler serve`: the embedded scheduler in the foreground."""

import os
import sys
from pathlib import Path

import click

from orchestrator.cli.stack import options_of


@click.command(name="serve")
@click.option("--host", help="Where to listen (localhost: both loopback addresses).")
@click.option("--port", type=click.IntRange(0, 65535), help="5146; 0 takes a free one.")
@click.option("--data", type=click.Path(path_type=Path, dir_okay=False), help="The SQLite file.")
@click.option("--attempts", type=click.IntRange(1), help="Attempts per delivery (1).")
@click.option(
    "--first-wait",
    type=click.FloatRange(0, 86400, min_open=True, max_open=True),
    help="Seconds before the second attempt, then doubling (1).",
)
@click.option("--concurrency", type=click.IntRange(1), help="Deliveries at a time (64).")
@click.option(
    "--delivery-timeout",
    type=click.FloatRange(0, 86400, min_open=True, max_open=True),
    help="Seconds for one delivery (100).",
)
@click.option("--allow-host", multiple=True, help="Another name to answer to; may be repeated.")
@click.pass_context
def serve_command(context: click.Context, /, **given: object) -> None:
    """Run the embedded scheduler until SIGTERM.

    Keys come from the environment: Auth__ApiKey, Jwt__Key, Jwt__Issuer, Jwt__Audience,
    Jwt__ExpiryMinutes. Those not set are drawn once and kept beside the data.
    Exit codes: 8 the port is taken, 78 settings that cannot get better by themselves.
    """
    import logging

    from orchestrator.scheduler.server.__main__ import main

    code = main(_words(given), options_of(context).environ)
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    # All is closed and written; taking the MCP SDK's modules apart would cost another 0.2 s.
    os._exit(code)


def _words(given: dict[str, object]) -> list[str]:
    """Return the options that were given as the server's own command line has them."""
    words = []
    for name, value in given.items():
        values = value if isinstance(value, tuple) else (value,)
        words += [f"--{name.replace('_', '-')}={one}" for one in values if one is not None]
    return words
