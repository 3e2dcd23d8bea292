"""Somebody else's server: the reference MCP server of the protocol's authors, where it is."""

import os
import shutil
from pathlib import Path

import pytest


def found_everything() -> tuple[str, str]:
    """Return node and the server's script, by MCP_SERVER_EVERYTHING and PATH; else skip the test.

    It is @modelcontextprotocol/server-everything from npm, and its dist/index.js.
    """
    script, node = os.environ.get("MCP_SERVER_EVERYTHING"), shutil.which("node")
    if not script or not Path(script).is_file():
        pytest.skip("no server-everything: set MCP_SERVER_EVERYTHING to its dist/index.js")
    if node is None:
        pytest.skip("no node on PATH")
    return node, script
