"""Our keys get into the text, and nothing else in it moves."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.discovery.json_merge import Entry, by_hand, merged
from orchestrator.discovery.json_scan import Unmergeable, check

SCHEDULER = Entry("Scheduler", "http://localhost:5146/mcp", "orchestrator", "s3cret")
PLAIN = Entry("Scheduler", "http://localhost:5146/mcp")


def put(text: str, *entries: Entry) -> str:
    return merged(text.encode(), entries or (PLAIN,)).decode()


def test_a_new_file_is_indented_by_two_and_ends_with_a_line_break() -> None:
    assert merged(None, [SCHEDULER]).decode() == (
        '{\n  "mcp": {\n    "mcp_servers": [\n      {\n        "name": "Scheduler",\n'
        '        "transport": {\n          "type": "http",\n'
        '          "url": "http://localhost:5146/mcp",\n          "auth": {\n'
        '            "client_id": "orchestrator",\n            "api_key": "s3cret"\n'
        "          }\n        }\n      }\n    ]\n  }\n}\n"
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            '{"a":1e5}',
            (
                '{"a":1e5,"mcp":{"mcp_servers":[{"name":"Scheduler",'
                '"transport":{"type":"http","url":"http://localhost:5146/mcp"}}]}}'
            ),
        ),
        (
            '{ "a": 1.0 }\n',
            (
                '{ "a": 1.0, "mcp": {"mcp_servers": [{"name": "Scheduler", '
                '"transport": {"type": "http", "url": "http://localhost:5146/mcp"}}]} }\n'
            ),
        ),
        (
            '{"mcp": {"mcp_servers": [1, {"name": 2}, {"other": 3}, "Scheduler"]}}',
            (
                '{"mcp": {"mcp_servers": [1, {"name": 2}, {"other": 3}, "Scheduler", {"name": '
                '"Scheduler", "transport": {"type": "http", "url": "http://localhost:5146/mcp"}}]}}'
            ),
        ),
        (
            '{\r\n\t"a": {}\r\n}',
            (
                '{\r\n\t"a": {},\r\n\t"mcp": {\r\n\t\t"mcp_servers": [\r\n\t\t\t{\r\n\t\t\t\t'
                '"name": '
                '"Scheduler",\r\n\t\t\t\t"transport": {\r\n\t\t\t\t\t"type": "http",\r\n\t\t\t\t\t'
                '"url": "http://localhost:5146/mcp"\r\n\t\t\t\t}\r\n\t\t\t}\r\n\t\t]\r\n\t}\r\n}'
            ),
        ),
        (
            '{\n"mcp":{\n"mcp_servers":[\n{"name":"A"}\n]\n}\n}',
            (
                '{\n"mcp":{\n"mcp_servers":[\n{"name":"A"},\n{"name":"Scheduler","transport":'
                '{"type":"http","url":"http://localhost:5146/mcp"}}\n]\n}\n}'
            ),
        ),
        (
            (
                '{\n  "mcp": {\n    "mcp_servers": [{\n      "name": "A"\n    }, {\n      "x": 1\n'
                "    }]\n  }\n}\n"
            ),
            (
                '{\n  "mcp": {\n    "mcp_servers": [{\n      "name": "A"\n    }, {\n      "x": 1\n'
                '    }, {\n      "name": "Scheduler",\n      "transport": {\n'
                '        "type": "http",\n'
                '        "url": "http://localhost:5146/mcp"\n      }\n    }]\n  }\n}\n'
            ),
        ),
        (
            '{\n  "a": 1\n, "b": 2\n}',
            (
                '{\n  "a": 1\n, "b": 2\n, "mcp": {\n  "mcp_servers": [\n    {\n      "name": '
                '"Scheduler",\n      "transport": {\n        "type": "http",\n        "url": '
                '"http://localhost:5146/mcp"\n      }\n    }\n  ]\n}\n}'
            ),
        ),
    ],
)
def test_what_is_missing_is_added_in_the_files_own_style(before: str, after: str) -> None:
    assert put(before) == after


def test_only_the_values_that_differ_are_replaced_in_an_entry_that_is_there() -> None:
    before = (
        '{"mcp":{"mcp_servers":[{"x":1e5,"transport":{"auth":{"z":0,"api_key":"old"},'
        '"url":"old","headers":{"A":"\\u00fc"},"type" : "\\u0068ttp"},"name":"Sch\\u0065duler"}]}}'
    )
    assert put(before, SCHEDULER) == (
        '{"mcp":{"mcp_servers":[{"x":1e5,"transport":{"auth":{"z":0,"api_key":"s3cret",'
        '"client_id":"orchestrator"},"url":"http://localhost:5146/mcp","headers":{"A":"\\u00fc"},'
        '"type" : "\\u0068ttp"},"name":"Sch\\u0065duler"}]}}'
    )


def test_what_stands_there_already_is_not_written_another_way() -> None:
    text = json.dumps(json.loads(merged(None, [SCHEDULER])), indent=7).replace("/", "\\/")
    assert put(text, SCHEDULER) == text


def test_null_on_our_path_is_filled() -> None:
    assert json.loads(put('{"mcp": null}')) == json.loads(merged(None, [PLAIN]))
    before = (
        '{\n  "mcp": {"mcp_servers": [\n    {"name": "Scheduler", "transport": {"auth": null}}'
        "\n  ]}\n}"
    )
    after = (
        '{"auth": {"client_id": "orchestrator", "api_key": "s3cret"}, "type": "http", '
        '"url": "http://localhost:5146/mcp"}'
    )
    assert put(before, SCHEDULER) == before.replace('{"auth": null}', after)
    assert put('{\n  "mcp": null\n}\n', SCHEDULER) == merged(None, [SCHEDULER]).decode()


def test_a_value_of_ours_that_is_no_text_is_replaced() -> None:
    text = '{"mcp":{"mcp_servers":[{"name":"Scheduler","transport":{"type":null,"url":1}}]}}'
    assert put(text) == text.replace("null", '"http"').replace('"url":1', f'"url":"{PLAIN.url}"')


def test_credentials_that_are_not_given_are_left_as_they_are() -> None:
    text = put("{}", SCHEDULER)
    assert put(text, Entry("Scheduler", SCHEDULER.url, client_id="orchestrator")) == text
    assert put(text, PLAIN) == text
    assert '"auth"' not in put("{}", PLAIN)


def test_every_entry_of_the_name_gets_the_url() -> None:
    text = put('{"mcp":{"mcp_servers":[{"name":"Scheduler"},{"name":"B"},{"name":"Scheduler"}]}}')
    servers = json.loads(text)["mcp"]["mcp_servers"]
    assert [server.get("transport", {}).get("url") for server in servers] == [
        PLAIN.url,
        None,
        PLAIN.url,
    ]


def test_several_entries_go_in_together() -> None:
    entries = [Entry("A", "http://a:1"), SCHEDULER, Entry("Ä\u202e\ud800", "http://c:3")]
    text = put("{}", *entries)
    assert [server["name"] for server in json.loads(text)["mcp"]["mcp_servers"]] == [
        entry.name for entry in entries
    ]
    assert put(text, *entries) == text


def test_what_to_put_there_by_hand_hides_the_key() -> None:
    text = by_hand([SCHEDULER, Entry("B", "http://b:1")])
    assert "s3cret" not in text
    assert "s3cret" not in repr(SCHEDULER)
    servers = json.loads(text)["mcp"]["mcp_servers"]
    assert servers[0]["transport"]["url"] == SCHEDULER.url
    assert servers[1] == {"name": "B", "transport": {"type": "http", "url": "http://b:1"}}


@pytest.mark.parametrize(
    ("text", "place", "reason"),
    [
        ("", (1, 1), "it is empty"),
        (" \n ", (2, 2), "it ends too early"),
        ("[]", (1, 1), "the file holds a list, not an object"),
        ("-1", (1, 1), "the file holds a number"),
        ('{"mcp": []}', (1, 9), "mcp is a list, not an object"),
        ('{"mcp": {"mcp_servers": {}}}', (1, 25), "mcp.mcp_servers is an object, not a list"),
        ('{\n "mcp": "x"}', (2, 9), "mcp is text, not an object"),
        ('{\r\n "a": NaN}', (2, 7), "NaN is not JSON"),
        ('{\r "a": -Infinity}', (2, 7), "Infinity is not JSON"),
        ('{"a": 1} // b', (1, 10), "a comment is not JSON"),
        ('{"a": 1,\n}', (2, 1), "the comma before this is one too many"),
        ('{"a": [1, ]}', (1, 11), "the comma before this is one too many"),
        ('{"a": 1, 2}', (1, 10), "a key was expected here"),
        ('{"a" 1}', (1, 6), "':' was expected here"),
        ('{"a": 1 "b": 2}', (1, 9), "',' or the end"),
        ('{"a": [}', (1, 8), "a value or ']' was expected"),
        ('{"a": [1}', (1, 9), "',' or the end"),
        ("{'a': 1}", (1, 2), "single quotes"),
        ('{"a": "b}', (1, 7), "not closed"),
        ('{"a": "\t"}', (1, 7), "control character"),
        ('{"a": 1} {}', (1, 10), "the end of the file was expected"),
        ('{"x": {"a": 1,\n"\\u0061": 2}}', (2, 1), "a second time"),
        ('{"' + "k" * 90 + '": 1, "' + "k" * 90 + '": 2}', (1, 99), "…"),
        (
            '{"mcp":{"mcp_servers":[{"name":"Scheduler","transport":{"url":{}}}]}}',
            (1, 63),
            "mcp.mcp_servers[Scheduler].transport.url is an object, not text",
        ),
    ],
)
def test_what_cannot_be_edited_without_harm_is_refused_with_its_place(
    text: str, place: tuple[int, int], reason: str
) -> None:
    with pytest.raises(Unmergeable) as refused:
        put(text)
    assert (refused.value.line, refused.value.column) == place
    assert reason in refused.value.reason


def test_bytes_that_are_no_utf_8_are_refused_with_their_place() -> None:
    with pytest.raises(Unmergeable) as refused:
        merged('{\n"ä": "'.encode() + b'\xff"}', [PLAIN])
    assert (refused.value.line, refused.value.column) == (2, 7)


def test_a_byte_order_mark_is_refused() -> None:
    with pytest.raises(Unmergeable, match="byte order mark"):
        merged(b"\xef\xbb\xbf{}", [PLAIN])


def test_no_depth_is_too_deep() -> None:
    deep = "[" * 50_000 + "]" * 50_000
    assert put(f'{{"a": {deep}}}').startswith(f'{{"a": {deep}, "mcp"')


# Random documents: json.loads and json.dumps are the oracle.

_texts = st.text(max_size=6)
_scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
)
_values = st.recursive(
    _scalars | _texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_texts, inner, max_size=4),
    max_leaves=12,
)
_objects = st.dictionaries(_texts, _values, max_size=4)


@st.composite
def _documents(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a document with none, some or all of our path in it, among foreign things."""
    document: dict[str, Any] = draw(_objects)
    document.pop("mcp", None)
    if not draw(st.booleans()):
        return document
    mcp: dict[str, Any] = draw(_objects)
    if draw(st.booleans()):
        servers: list[Any] = draw(st.lists(_values, max_size=3))
        servers = [one for one in servers if not isinstance(one, dict) or "name" not in one]
        if draw(st.booleans()):
            transport: Any = draw(_objects)
            transport["url"] = "OLD URL"
            if draw(st.booleans()):
                transport["auth"] = draw(_objects) | {"api_key": "OLD KEY"}
            else:
                transport.pop("auth", None)
            transport["type"] = draw(st.sampled_from(["http", "OLD TYPE"]))
            servers.append(draw(_objects) | {"transport": transport, "name": "Scheduler"})
        mcp["mcp_servers"] = servers
    else:
        mcp.pop("mcp_servers", None)
    items = list(document.items())
    items.insert(draw(st.integers(0, len(items))), ("mcp", mcp))
    return dict(items)


@st.composite
def _styles(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "indent": draw(st.sampled_from([None, 0, 1, 2, 4, "\t"])),
        "separators": draw(
            st.sampled_from([(",", ":"), (", ", ": "), (",", ": "), (" , ", " : ")])
        ),
        "ensure_ascii": draw(st.booleans()),
    }


def _expected(document: dict[str, Any]) -> dict[str, Any]:
    wanted: dict[str, Any] = json.loads(json.dumps(document))
    servers = wanted.setdefault("mcp", {}).setdefault("mcp_servers", [])
    named = [one for one in servers if isinstance(one, dict) and one.get("name") == "Scheduler"]
    if not named:
        servers.append({"name": "Scheduler"})
        named = servers[-1:]
    transport = named[0].setdefault("transport", {})
    transport |= {"type": "http", "url": SCHEDULER.url}
    transport.setdefault("auth", {})
    transport["auth"] |= {"client_id": "orchestrator", "api_key": "s3cret"}
    return wanted


@settings(max_examples=400, deadline=None)
@given(document=_documents(), style=_styles(), newline=st.sampled_from(["\n", "\r\n", "\r"]))
def test_random_documents_get_our_keys_and_keep_all_other_bytes(
    document: dict[str, Any], style: dict[str, Any], newline: str
) -> None:
    text = json.dumps(document, **style).replace("\n", newline) + newline
    data = text.encode("utf-8", "surrogatepass").decode("utf-8", "replace").encode()
    after = merged(data, [SCHEDULER])
    assert json.loads(after) == _expected(json.loads(data))
    assert merged(after, [SCHEDULER]) == after
    assert list(json.loads(after)) == list(json.loads(data) | json.loads(after))
    _assert_only_ours_moved(data.decode(), after.decode())


def _assert_only_ours_moved(before: str, after: str) -> None:
    """What was there is still there, byte for byte and in order, but for our old values."""
    for old in ('"OLD URL"', '"OLD KEY"', '"OLD TYPE"'):
        before = before.replace(old, "")
    rest = iter(after)
    assert all(any(char == other for other in rest) for char in before)
    assert after.endswith(before[len(before.rstrip()) :])


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet='{}[]":,\\ \n0123456789.eE+-truefalsnu/ü\u2028', max_size=14))
def test_what_the_check_takes_json_takes_too_and_the_other_way_round(text: str) -> None:
    try:
        json.loads(text, object_pairs_hook=_no_twins, parse_constant=_no_constant)
    except ValueError:
        with pytest.raises(Unmergeable):
            check(text)
    else:
        check(text)


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) < len(pairs):
        raise ValueError(pairs)
    return dict(pairs)


def _no_constant(word: str) -> None:
    raise ValueError(word)
