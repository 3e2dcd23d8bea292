"""How a conversation arrives, from both schedulers."""

import json
import time
from typing import Any

import pytest

from tests.integration.scheduler.stage import (
    Caller,
    Receiver,
    free_port,
    receiving,
    soon,
    wait_until,
)


def create(asked: Caller, endpoint: str, text: str = "x", **target: Any) -> str:
    body = {
        "conversationText": text,
        "scheduledTime": soon(),
        "target": {"endpoint": endpoint, "method": "POST", **target},
    }
    answer = asked.ask("POST", "/api/conversations", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def test_it_comes_once_with_the_text_as_its_body(asked: Caller, receiver: Receiver) -> None:
    due = time.time() + 0.3
    made = asked.schedule("hällo\n{", soon(0.3), receiver.url, additionalInfo="not sent")
    asked.becomes(made, "Completed")
    (delivery,) = receiver.deliveries
    assert (delivery.method, delivery.path, delivery.body) == ("POST", "/callback", "hällo\n{")
    assert delivery.headers["content-type"] == "application/json; charset=utf-8"
    assert "not sent" not in str(delivery)
    assert -0.001 <= delivery.at - due < 1


def test_the_embedded_scheduler_names_the_conversation(
    asked: Caller, kind: str, receiver: Receiver
) -> None:
    made = asked.schedule("x", soon(), receiver.url)
    asked.becomes(made, "Completed")
    assert receiver.deliveries[0].id == (made if kind == "embedded" else None)


@pytest.mark.parametrize(
    ("word", "method"),
    [
        *(("GET", "GET"), ("put", "PUT"), ("Delete", "DELETE"), ("PATCH", "PATCH")),
        *(("fly", "POST"), ("", "POST"), ("HEAD", "POST")),
    ],
)
def test_the_method_is_one_of_five_in_any_case_else_post(
    asked: Caller, receiver: Receiver, word: str, method: str
) -> None:
    made = asked.schedule("body", soon(), receiver.url, method=word)
    asked.becomes(made, "Completed")
    assert (receiver.deliveries[0].method, receiver.deliveries[0].body) == (method, "body")


def test_other_headers_are_sent_and_the_content_type_is_not_theirs(
    asked: Caller, receiver: Receiver
) -> None:
    headers = {"X-One": "1", "Authorization": "Bearer t", "Content-Type": "text/plain"}
    made = create(asked, receiver.url, headersJson=json.dumps(headers))
    asked.becomes(made, "Completed")
    got = receiver.deliveries[0].headers
    assert (got["x-one"], got["authorization"]) == ("1", "Bearer t")
    assert got["content-type"] == "application/json; charset=utf-8"


@pytest.mark.parametrize("headers", ["{bad", "[]", '{"X-One":1}', "null", "", "[" * 5000])
def test_unreadable_headers_are_none(asked: Caller, receiver: Receiver, headers: str) -> None:
    made = create(asked, receiver.url, headersJson=headers)
    asked.becomes(made, "Completed")
    assert "x-one" not in receiver.deliveries[0].headers


def test_headers_cannot_break_out_of_their_line(
    asked: Caller, kind: str, receiver: Receiver
) -> None:
    if kind == "dotnet":
        pytest.skip("not said by the contract")
    headers = {
        "X-Evil": "1\r\nX-Worse: 2",
        "X-Evil: 3\r\nX-Worse": "4",
        "Content-Length": "1",
        "Transfer-Encoding": "chunked",
        "X-Conversation-Id": "mine",
        "X-Good": "5",
    }
    made = create(asked, receiver.url, headersJson=json.dumps(headers))
    asked.becomes(made, "Completed")
    got = receiver.deliveries[0].headers
    assert "x-worse" not in got
    assert (got["x-good"], got["x-conversation-id"]) == ("5", made)
    assert receiver.deliveries[0].body == "x"


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_2xx_completes(asked: Caller, receiver: Receiver, status: int) -> None:
    receiver.status = status
    asked.becomes(asked.schedule("x", soon(), receiver.url), "Completed")


@pytest.mark.parametrize("status", [304, 400, 401, 404, 500, 503])
def test_all_else_fails_without_a_retry(asked: Caller, receiver: Receiver, status: int) -> None:
    receiver.status = status
    asked.becomes(asked.schedule("x", soon(), receiver.url), "Failed")
    other = asked.schedule("y", soon(), receiver.url)
    asked.becomes(other, "Failed")
    assert receiver.texts() == ["x", "y"]


def test_an_error_on_the_way_fails(asked: Caller) -> None:
    made = asked.schedule("x", soon(), f"http://127.0.0.1:{free_port()}/x")
    asked.becomes(made, "Failed")
    assert asked.ask("GET", f"/api/conversations/{made}").json()["status"] == 3


def test_it_is_in_progress_until_the_receiver_answers(asked: Caller, receiver: Receiver) -> None:
    receiver.may_answer.clear()
    made = asked.schedule("x", soon(), receiver.url)
    wait_until(receiver.texts)
    assert asked.status(made) == "InProgress"
    assert asked.tool("cancelConversation", conversationId=made).json() == {"result": False}
    assert asked.ask("DELETE", f"/api/conversations/{made}").status_code == 404
    receiver.may_answer.set()
    asked.becomes(made, "Completed")


def test_what_was_cancelled_does_not_come(asked: Caller, receiver: Receiver) -> None:
    made = asked.schedule("no", soon(0.4), receiver.url)
    assert asked.tool("cancelConversation", conversationId=made).json() == {"result": True}
    later = asked.schedule("yes", soon(0.6), receiver.url)
    asked.becomes(later, "Completed")
    assert receiver.texts() == ["yes"]


def test_a_burst_to_a_receiver_that_closes_its_connections_arrives(
    asked: Caller, kind: str
) -> None:
    if kind == "dotnet":
        pytest.skip("the published service loses up to three of eleven")
    with receiving("HTTP/1.0") as receiver:
        at = soon(0.3)
        made = [asked.schedule(str(number), at, receiver.url) for number in range(40)]
        wait_until(lambda: len(receiver.deliveries) == 40)
        for one in made:
            asked.becomes(one, "Completed")
        assert sorted(map(int, receiver.texts())) == list(range(40))


@pytest.mark.parametrize("status", [307, 308])
def test_a_redirect_that_keeps_the_method_is_followed(
    asked: Caller, receiver: Receiver, status: int
) -> None:
    receiver.answers, receiver.location = [status], "/elsewhere"
    asked.becomes(asked.schedule("x", soon(), receiver.url), "Completed")
    assert [(d.method, d.path, d.body) for d in receiver.deliveries] == [
        ("POST", "/callback", "x"),
        ("POST", "/elsewhere", "x"),
    ]


def test_a_redirect_that_drops_the_text_fails_with_the_embedded_scheduler(
    asked: Caller, kind: str, receiver: Receiver
) -> None:
    receiver.answers, receiver.location = [302], "/elsewhere"
    made = asked.schedule("x", soon(), receiver.url)
    if kind == "embedded":
        asked.becomes(made, "Failed")
        assert len(receiver.deliveries) == 1
    else:
        asked.becomes(made, "Completed")
        assert (receiver.deliveries[1].method, receiver.deliveries[1].body) == ("GET", "")


def test_a_ring_of_redirects_fails(asked: Caller, receiver: Receiver) -> None:
    receiver.status, receiver.location = 307, "/callback"
    asked.becomes(asked.schedule("x", soon(), receiver.url), "Failed")
    assert len(receiver.deliveries) > 1
