"""Logging in at a scheduler, one request at a time, with the server's own words."""

from dataclasses import dataclass

from orchestrator.scheduler.clock import SystemClock
from orchestrator.scheduler.configuration import Access
from orchestrator.scheduler.connections import Connections
from orchestrator.scheduler.dialect import words_of
from orchestrator.scheduler.wire import Call, Wire

TIMEOUT_S = 10.0
LOGIN = "/api/auth/token"
_UNAUTHORIZED = frozenset({400, 401, 403})


@dataclass(frozen=True, slots=True)
class Login:
    """What a scheduler said to credentials. ``words`` are its own; ``life_s`` of the token."""

    status: int
    words: str
    token: str | None = None
    life_s: float | None = None
    client_id: str | None = None

    def __repr__(self) -> str:  # the token must not reach a log by way of a traceback
        return f"Login(status={self.status}, words={self.words!r})"

    @property
    def advice(self) -> str:
        """What to do about a login that was refused."""
        if self.status in _UNAUTHORIZED:
            return (
                "the key must be the scheduler's own (Auth__ApiKey); SCHEDULER_API_KEY wins over"
                " config.json, which `orchestrator config publish` writes again"
            )
        if self.status >= 500:
            return "its Jwt__Key must have 32 bytes at least; its log has the reason"
        return "this is no scheduler's address: correct transport.url, or choose with --server"


def wire_to(access: Access, connections: Connections) -> Wire:
    """Return what sends single requests."""
    return Wire(access, connections, SystemClock(), TIMEOUT_S)


async def log_in(wire: Wire, access: Access) -> Login:
    """Ask for a token and have the server read it back.

    Raises:
        Unreachable, TimedOut: it does not answer.
    """
    credentials = {"clientId": access.client_id, "apiKey": access.api_key}
    response = await wire.send(Call("POST", LOGIN, json=credentials))
    if response.status_code != 200:
        return Login(response.status_code, words_of(response))
    try:
        answer = response.json()
        token, life_s = str(answer["token"]), answer.get("expiresIn")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return Login(404, "not the answer of a scheduler's login")
    is_number = isinstance(life_s, int | float) and not isinstance(life_s, bool)
    owner = await _owner(wire, token)
    return Login(200, "", token, float(life_s) if is_number else None, owner)


async def _owner(wire: Wire, token: str) -> str | None:
    """Return the client that the server reads out of its token; None if it does not tell."""
    response = await wire.send(Call("POST", "/api/auth/validate", json={"token": token}))
    try:
        answer = response.json()
        return str(answer["clientId"]) if answer["isValid"] is True else None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
