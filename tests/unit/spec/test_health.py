"""The forms of `health`, and what they become."""

from pathlib import Path

import pytest

from orchestrator.spec.model import ExecProbe, Health, HttpProbe, LogProbe, McpProbe, TcpProbe
from orchestrator.spec.template import Ref, Template
from tests.unit.spec.files import project, service, service_problems


def health(tmp_path: Path, keys: str, **environ: str) -> Health:
    found = service(tmp_path, keys, environ).health
    assert found is not None
    return found


def literal(text: str) -> Template:
    return Template.literal(text)


def test_a_port_is_probed_by_tcp_where_no_probe_is_named(tmp_path: Path) -> None:
    assert health(tmp_path, "port: 80") == Health(tcp=TcpProbe())
    assert health(tmp_path, "port: auto\nhealth: {interval: 1s}") == Health(
        tcp=TcpProbe(), interval_s=1.0
    )


def test_without_a_port_there_is_nothing_to_probe(tmp_path: Path) -> None:
    assert service(tmp_path, "").health is None
    assert not service(tmp_path, "").has_probe
    assert service_problems(tmp_path, "health: {interval: 1s}") == [
        "health: names no probe (http, tcp, exec, log, mcp), and there is no `port` to try"
    ]


@pytest.mark.parametrize("none", ["none", "no", "false", "{tcp: false}"])
def test_a_service_may_have_no_probe_although_it_has_a_port(tmp_path: Path, none: str) -> None:
    assert service(tmp_path, f"port: 80\nhealth: {none}").health is None


@pytest.mark.parametrize(
    ("http", "becomes"),
    [
        ("/health", HttpProbe(path=literal("/health"))),
        ("http://localhost:1/x", HttpProbe(url=literal("http://localhost:1/x"))),
        ("'https://[::1]/'", HttpProbe(url=literal("https://[::1]/"))),
        ("'${BASE}/x'", HttpProbe(url=literal("http://a/x"))),
        ("{path: /a, method: post}", HttpProbe(path=literal("/a"), method="POST")),
        ("{path: /a, status: 204}", HttpProbe(path=literal("/a"), status=((204, 204),))),
        (
            "{path: /a, status: [200-299, 401, '500 - 503', ]}",
            HttpProbe(path=literal("/a"), status=((200, 299), (401, 401), (500, 503))),
        ),
        (
            "{path: /a, headers: {X-A: 1.10}, body: '${BASE}'}",
            HttpProbe(path=literal("/a"), headers={"X-A": literal("1.10")}, body="http://a"),
        ),
        (
            '"http://localhost:${PORT}/x"',
            HttpProbe(url=Template(("http://localhost:", Ref(("PORT",)), "/x"))),
        ),
        ('"${secrets.base}/x"', HttpProbe(url=Template((Ref(("secrets", "base")), "/x")))),
        ('"/x/${PORT}"', HttpProbe(path=Template(("/x/", Ref(("PORT",)))))),
    ],
)
def test_http_is_a_path_a_url_or_more_of_a_request(
    tmp_path: Path, http: str, becomes: HttpProbe
) -> None:
    text = f"""\
        secrets: {{base: {{generate: true}}}}
        services:
          web:
            command: x
            port: 80
            health: {{http: {http}}}
        """
    found = project(tmp_path, text, {"BASE": "http://a"}).services["web"].health
    assert found == Health(http=becomes)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("health: {http: /x}", "health.http: a path needs the service to have a `port`; or give"),
        ("port: 1\nhealth: {http: {}}", "health.http: needs either `path` or `url`"),
        (
            "port: 1\nhealth: {http: {path: /, url: http://a}}",
            "health.http: needs either `path` or `url`",
        ),
        ("health: {http: health}", "'health' is neither a path, which begins with /, nor an http"),
        ("health: {http: localhost:80/x}", "health.http: 'localhost:80/x' is neither a path"),
        ("health: {http: ftp://a}", "health.http: 'ftp://a' is neither"),
        ("health: {http: http://}", "health.http: 'http://' is neither"),
        ("health: {http: http://a:b}", "health.http: 'http://a:b' is neither"),
        ("health: {http: http://a:0}", "health.http: 'http://a:0' is neither"),
        ("health: {http: 'http://[::1'}", "health.http: 'http://[::1' is neither"),
        ("port: 1\nhealth: {http: {path: x}}", "health.http: a path begins with /"),
        ("port: 1\nhealth: {http: {path: [x]}}", "health.http.path: must be text"),
        ("health: {http: {url: [x]}}", "health.http.url: must be text"),
        ("port: 1\nhealth: {http: 5}", "health.http: must be a path, a URL or a mapping"),
        ("port: 1\nhealth: {http: {path: /, pth: x}}", 'unknown key; did you mean "path"?'),
        ("port: 1\nhealth: {http: {path: /, status: 99}}", "'99' is no status such as 200 or"),
        ("port: 1\nhealth: {http: {path: /, status: 299-200}}", "'299-200' is no status"),
        ("port: 1\nhealth: {http: {path: /, status: [ok]}}", "http.status: 'ok' is no status"),
        ("port: 1\nhealth: {http: {path: /, method: G T}}", "'G T' is no method of HTTP"),
        ("port: 1\nhealth: {http: {path: /, headers: {'A B': x}}}", "is no name of a header"),
        ("port: 1\nhealth: {http: {path: /, headers: [x]}}", "http.headers: must be a mapping"),
        ("port: 1\nhealth: {http: {path: /, body: '${PORT}'}}", "${PORT} is known only when a"),
        ("health: {tcp: true}", "health.tcp: the service has no `port` to try"),
        ("health: {tcp: db}", "health.tcp: must be a port, host:port, or true for the service's"),
        ("health: {tcp: db:99999}", "health.tcp: must be a port, host:port, or true"),
        ("health: {tcp: {port: 1}}", "health.tcp: must be a port, host:port, or true"),
        ("health: {tcp: 0}", "health.tcp: must be a port, host:port, or true"),
        ("port: 1\nhealth: {tcp: '${PORT}0'}", "health.tcp: must be a port, host:port, or true"),
        ("port: 1\nhealth: {tcp: 'a${PORT}'}", "health.tcp: must be a port, host:port, or true"),
        (
            "health: {mcp: 5}",
            "health.mcp: must be true, a path or a mapping such as {tools: [name]}",
        ),
        ("health: {mcp: mcp}", "health.mcp: a path begins with /"),
        ("health: {mcp: {path: [x]}}", "health.mcp.path: must be text"),
        ("health: {mcp: {tools: x}}", "health.mcp.tools: must be a list"),
        ("health: {mcp: {tools: ['']}}", "must not be empty"),
        ("health: {mcp: {tool: [x]}}", 'unknown key; did you mean "tools"?'),
        ("health: {exec: []}", "health.exec: must be a command: a list of words, or one text"),
        ("health: {exec: {a: b}}", "health.exec: must be a command"),
        ("health: {exec: 'a \"b'}", "health.exec: cannot be split into words: no closing quot"),
        ("health: {exec: ''}", "health.exec: must be a command"),
        ("health: {log: '('}", "health.log: is no regular expression: missing ), unterminated"),
        ("health: {log: [x]}", "health.log: must be a regular expression"),
        ("port: 1\nhealth: {log: '${PORT}'}", "${PORT} is not known yet when the pattern is read"),
        ("port: 1\nhealth: {failures: 0}", "health.failures: must be 1 or more"),
        ("port: 1\nhealth: {timeout: 0}", "health.timeout: must be more than 0"),
        ("port: 1\nhealth: {listener: mine}", 'health.listener: must be "own" or "any"'),
        ("port: 1\nhealth: {on_unhealthy: x}", 'must be "restart" or "ignore"'),
        ("port: 1\nhealth: {htp: /}", 'health.htp: unknown key; did you mean "http"?'),
    ],
)
def test_a_probe_that_can_never_work_is_refused(tmp_path: Path, keys: str, said: str) -> None:
    found = service_problems(tmp_path, keys)
    assert len(found) == 1, found
    assert said in found[0]


@pytest.mark.parametrize(
    ("tcp", "becomes"),
    [
        ("true", TcpProbe()),
        ("5432", TcpProbe(port=5432)),
        ("'5432'", TcpProbe(port=5432)),
        ("db:5432", TcpProbe(host="db", port=5432)),
        ("'[::1]:5432'", TcpProbe(host="::1", port=5432)),
        ("'${PORT}'", TcpProbe()),
        ("'localhost:${PORT}'", TcpProbe(host="localhost")),
        ("'${HOST}:${OTHER}'", TcpProbe(host="db", port=5433)),
    ],
)
def test_tcp_is_a_port_with_or_without_a_host(tmp_path: Path, tcp: str, becomes: TcpProbe) -> None:
    keys = f"port: 80\nhealth: {{tcp: {tcp}}}"
    assert health(tmp_path, keys, HOST="db", OTHER="5433") == Health(tcp=becomes)


def test_exec_is_a_list_or_a_text(tmp_path: Path) -> None:
    expected = Health(exec=ExecProbe(command=(literal("pg_isready"), literal("-q"))))
    assert health(tmp_path, "health: {exec: [pg_isready, -q]}") == expected
    assert health(tmp_path, "health: {exec: pg_isready -q}") == expected


def test_log_is_a_regular_expression_whose_dollars_stay(tmp_path: Path) -> None:
    assert health(tmp_path, "health: {log: 'ready (?P<n>\\d+)$'}") == Health(
        log=LogProbe(pattern=r"ready (?P<n>\d+)$")
    )
    assert health(tmp_path, "health: {log: '^${WORD}$'}", WORD="up") == Health(
        log=LogProbe(pattern="^up$")
    )


def test_several_probes_may_be_named(tmp_path: Path) -> None:
    keys = "port: 1\nhealth: {http: /, tcp: true, exec: [x], log: y, failures: 2, listener: any}"
    found = health(tmp_path, keys)
    assert None not in (found.http, found.tcp, found.exec, found.log)
    assert (found.failures, found.listener) == (2, "any")


@pytest.mark.parametrize(
    ("mcp", "becomes"),
    [
        ("true", McpProbe()),
        ("{}", McpProbe()),
        ("/m", McpProbe(path=literal("/m"))),
        ("{tools: [a, b]}", McpProbe(tools=("a", "b"))),
        ("{path: /m, tools: ~}", McpProbe(path=literal("/m"))),
    ],
)
def test_mcp_needs_no_port_for_it_may_be_found(tmp_path: Path, mcp: str, becomes: McpProbe) -> None:
    assert health(tmp_path, f"health: {{mcp: {mcp}}}") == Health(mcp=becomes)


@pytest.mark.parametrize("none", ["none", "false", "~"])
def test_mcp_may_be_switched_off(tmp_path: Path, none: str) -> None:
    assert health(tmp_path, f"health: {{mcp: {none}, tcp: 80}}") == health(
        tmp_path, "health: {tcp: 80}"
    )
