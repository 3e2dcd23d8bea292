"""What counts as an announced address, and which host a published URL has."""

import pytest

from orchestrator.discovery.urls import base_url, join, service_url, url_in


@pytest.mark.parametrize(
    ("line", "url"),
    [
        ("      Now listening on: http://127.0.0.1:5146", "http://127.0.0.1:5146"),
        ("      Now listening on: http://localhost:5146\r", "http://localhost:5146"),
        ('[12:01 INF] Now listening on: "http://[::]:8080"', "http://localhost:8080"),
        ("Now listening on: http://+:80", "http://localhost:80"),
        ("Now listening on: http://*:5000", "http://localhost:5000"),
        (
            '{"Message":"Now listening on: http://localhost:5146","Category":"Lifetime"}',
            "http://localhost:5146",
        ),
        (
            "INFO:     Uvicorn running on http://127.0.0.1:8000 (Press CTRL+C to quit)",
            "http://127.0.0.1:8000",
        ),
        (
            "\x1b[32mINFO\x1b[0m:     Uvicorn running on \x1b[1mhttp://0.0.0.0:8000\x1b[0m (Press)",
            "http://localhost:8000",
        ),
        ("Uvicorn running on http://[::1]:8000 (Press CTRL+C to quit)", "http://[::1]:8000"),
        (" * Running on http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        (" * Running on http://127.0.0.1:5000/ (Press CTRL+C to quit)", "http://127.0.0.1:5000"),
        (
            "[2026-01-02] [7] [INFO] Running on http://127.0.0.1:8000 (CTRL + C to quit)",
            "http://127.0.0.1:8000",
        ),
        (
            "[2026-01-02 10:00:00 +0000] [7] [INFO] Listening at: http://127.0.0.1:8000 (7)",
            "http://127.0.0.1:8000",
        ),
        ("Listening at: http://127.0.0.1:8000,http://[::1]:8000 (7)", "http://127.0.0.1:8000"),
        ("Serving HTTP on :: port 8000 (http://[::]:8000/) ...", "http://localhost:8000"),
        ("Server listening on http://localhost:3000", "http://localhost:3000"),
        ("listening on http://:::3000", "http://localhost:3000"),
        ("Server running at http://LOCALHOST:3000/.", "http://localhost:3000"),
        ("🚀 Server ready at `http://localhost:4000/graphql`", "http://localhost:4000"),
        (
            "  \x1b[32m➜\x1b[39m  \x1b[1mLocal\x1b[22m:   \x1b[36mhttp://localhost:5173/\x1b[39m",
            "http://localhost:5173",
        ),
        ("   - Local:        http://localhost:3000", "http://localhost:3000"),
        (
            "Starting MCP server 'demo' with transport 'http' on http://127.0.0.1:8000/mcp",
            "http://127.0.0.1:8000",
        ),
        ("listening on \x1b]8;;http://a:1\x1b\\http://a:1\x1b]8;;\x1b\\", "http://a:1"),
        ("listening on https://Example.com/x?token=abc#d", "https://example.com:443"),
    ],
)
def test_what_servers_say_when_they_listen_is_understood(line: str, url: str) -> None:
    assert url_in(line) == url


@pytest.mark.parametrize(
    "line",
    [
        "",
        "Now listening on: unix:/run/kestrel.sock",
        "Server listening on port 3000",
        "listening on http://",
        "listening on ftp://localhost:21",
        "listening on http://localhost:0",
        "listening on http://localhost:65536",
        "listening on http://localhost:port",
        "listening on http://[nonsense]:80",
        "listening on http://user:secret@localhost:80",
        "Server started. Listening at http://:: on port: 3000",
        "Failed to start: cannot listen; was listening on http://localhost:80",
        "no longer listening on http://localhost:80",
        'INFO: 127.0.0.1:4711 - "GET http://localhost:80/ HTTP/1.1" 200 OK',
        "Connected to http://localhost:80",
        "see http://localhost:80/docs",
        "  ➜  Network: http://192.168.1.5:5173/",
        "listening " * 2000 + "://",
        "listening on " + "[" * 16000 + "http://x:1",
    ],
)
def test_other_lines_tell_no_address(line: str) -> None:
    assert url_in(line) is None


@pytest.mark.parametrize(
    ("hosts", "url"),
    [
        (["127.0.0.1", "::1"], "http://localhost:80"),
        (["0.0.0.0", "::"], "http://localhost:80"),
        (["127.0.0.1", "::"], "http://localhost:80"),
        ([], "http://localhost:80"),
        (["::"], "http://[::1]:80"),
        (["::1"], "http://[::1]:80"),
        (["127.0.0.1"], "http://127.0.0.1:80"),
        (["0.0.0.0"], "http://127.0.0.1:80"),
        (["::ffff:127.0.0.1"], "http://127.0.0.1:80"),
        (["10.0.0.7", "10.0.0.1"], "http://10.0.0.1:80"),
        (["fe80::1%eth0"], "http://[fe80::1]:80"),
    ],
)
def test_the_host_is_localhost_only_where_both_families_are_its_own(
    hosts: list[str], url: str
) -> None:
    assert service_url(80, hosts) == url


def test_a_url_has_one_spelling() -> None:
    assert base_url("HTTP://Localhost/mcp?x=1") == "http://localhost:80"
    assert base_url("https://[0:0::1]:9/") == "https://[::1]:9"
    assert base_url("localhost:80") is None


def test_a_path_is_joined_with_one_slash() -> None:
    assert join("http://localhost:80", "/mcp") == "http://localhost:80/mcp"
    assert join("http://localhost:80/", "mcp/") == "http://localhost:80/mcp/"
    assert join("http://localhost:80", "") == "http://localhost:80"
