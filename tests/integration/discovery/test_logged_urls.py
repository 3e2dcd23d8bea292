"""Servers that are really started: what they log leads to where they listen."""

import socket
from urllib.parse import urlsplit

import pytest

from orchestrator.discovery.urls import url_in
from tests.integration.discovery.publish_stage import running

UVICORN = """
import uvicorn
async def app(scope, receive, send): ...
uvicorn.run(app, host=HOST, port=0, lifespan="off", use_colors=True)
"""
HTTP_SERVER = """
import runpy, sys
sys.argv = ["http.server", "0", "--bind", HOST]
sys.stderr, sys.stdout = sys.stdout, sys.stderr
runpy.run_module("http.server", run_name="__main__")
"""


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1"])
@pytest.mark.parametrize("code", [UVICORN, HTTP_SERVER], ids=["uvicorn", "http.server"])
def test_the_logged_address_is_where_it_listens(code: str, host: str) -> None:
    if host == "::1" and not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    with running(code.replace("HOST", repr(host))) as server:
        assert server.stderr is not None
        lines = (line.decode() for line in server.stderr)
        url = next(url for line in lines if (url := url_in(line)) is not None)
        parts = urlsplit(url)
        assert parts.hostname == {"0.0.0.0": "localhost"}.get(host, host)
        socket.create_connection((parts.hostname, parts.port), timeout=5).close()
