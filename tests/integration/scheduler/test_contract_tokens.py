"""The tokens of the contract, and which are refused with what words, by both schedulers."""

import base64
import json
import time
from collections.abc import Mapping
from typing import Any

import jwt
import pytest

from tests.integration.scheduler.stage import SIGNING_KEY, Caller

NAME = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/nameidentifier"
FOREIGN_KEY = "a-signing-key-of-somebody-else-with-48-characters"


def claims(**changed: Any) -> dict[str, Any]:
    known = {
        "sub": "tests",
        "iss": "McpScheduler",
        "aud": "McpSchedulerClients",
        "exp": int(time.time()) + 600,
    }
    return {name: value for name, value in {**known, **changed}.items() if value is not None}


def signed(payload: Mapping[str, Any], key: str = SIGNING_KEY, algorithm: str = "HS256") -> str:
    return jwt.encode(dict(payload), key, algorithm=algorithm)


def part(value: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def refused(asked: Caller, token: str) -> str:
    answer = asked.http.get("/mcp/tools", headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.content) == (401, b"")
    valid = asked.http.post("/api/auth/validate", json={"token": token})
    assert valid.json() == {"isValid": False, "clientId": None}
    return str(answer.headers["www-authenticate"])


def told(description: str) -> str:
    return f'Bearer error="invalid_token", error_description="{description}"'


def test_a_token_says_who_from_whom_for_whom_and_until_when(asked: Caller) -> None:
    token = asked.headers["Authorization"].removeprefix("Bearer ")
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT"}
    said = jwt.decode(token, SIGNING_KEY, algorithms=["HS256"], audience="McpSchedulerClients")
    assert set(said) == {"sub", NAME, "jti", "exp", "iss", "aud"}
    assert (said["sub"], said[NAME], said["iss"]) == ("tests", "tests", "McpScheduler")
    assert abs(said["exp"] - time.time() - 7200) < 60


def test_a_good_token_of_another_maker_is_taken(asked: Caller) -> None:
    answer = asked.http.get("/mcp/tools", headers={"Authorization": f"Bearer {signed(claims())}"})
    assert answer.status_code == 200


def test_five_minutes_of_skew_are_allowed(asked: Caller) -> None:
    token = signed(claims(exp=int(time.time()) - 290))
    answer = asked.http.get("/mcp/tools", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200


def test_an_expired_token_is_refused_with_its_time(asked: Caller) -> None:
    assert refused(asked, signed(claims(exp=1_577_836_800))) == told(
        "The token expired at '01/01/2020 00:00:00'"
    )


def test_a_token_without_an_end_is_refused(asked: Caller) -> None:
    assert refused(asked, signed(claims(exp=None))) == told("The token has no expiration")


def test_another_issuer_is_refused(asked: Caller) -> None:
    assert refused(asked, signed(claims(iss="x"))) == told("The issuer 'x' is invalid")


def test_another_key_is_refused(asked: Caller) -> None:
    assert refused(asked, signed(claims(), FOREIGN_KEY)) == told("The signature key was not found")


def test_a_token_without_a_signature_is_refused(asked: Caller) -> None:
    unsigned = f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(claims())}."
    assert refused(asked, unsigned) == told("The signature is invalid")


def test_the_audience_is_checked_by_the_embedded_scheduler_only(asked: Caller, kind: str) -> None:
    token = signed(claims(aud="x"))
    if kind == "embedded":
        assert refused(asked, token) == told("The audience 'x' is invalid")
    else:
        answer = asked.http.get("/mcp/tools", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 200


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_another_algorithm_with_our_key_is_refused_by_the_embedded_scheduler(
    asked: Caller, kind: str, algorithm: str
) -> None:
    if kind == "dotnet":
        pytest.skip("not said by the contract")
    assert "invalid_token" in refused(asked, signed(claims(), algorithm=algorithm))


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "a.b.c",
        "..",
        "a" * 5000,
        f"{part({'alg': 'HS256'})}.e30.",
        f"{part({'alg': ['HS256']})}.e30.e30",
        f"{base64.urlsafe_b64encode(b'[' * 3000).decode()}.e30.e30",
    ],
)
def test_what_is_no_token_is_refused(asked: Caller, token: str) -> None:
    assert "invalid_token" in refused(asked, token)


@pytest.mark.parametrize(
    "changed",
    [
        {"exp": "soon"},
        {"exp": [1]},
        {"exp": 1e300},
        {"iss": ['x"\r\nX-Evil: 1']},
        {"aud": 'x"\r\n'},
        {"aud": None},
        {"iss": None},
        {"nbf": "x"},
    ],
    ids=str,
)
def test_strange_claims_are_refused_without_harm(
    asked: Caller, kind: str, changed: dict[str, Any]
) -> None:
    if kind == "dotnet":
        pytest.skip("not said by the contract")
    if changed.get("exp") == 1e300:
        token = signed(claims(**changed))
        answer = asked.http.get("/mcp/tools", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code in {200, 401}
        return
    # PyJWT would not write some of these itself.
    body = f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part(claims(**changed))}"
    signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    raw = signature.sign(body.encode(), SIGNING_KEY.encode())
    token = f"{body}.{base64.urlsafe_b64encode(raw).rstrip(b'=').decode()}"
    assert "invalid_token" in refused(asked, token)
