"""Requests to the scheduler: tokens, retries of what is safe to repeat, and named errors."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlsplit

import anyio
import httpx2
import tenacity

from orchestrator.scheduler.clock import Clock
from orchestrator.scheduler.configuration import Access
from orchestrator.scheduler.connections import Connections
from orchestrator.scheduler.errors import (
    SchedulerError,
    ServerFailed,
    TimedOut,
    Unauthorized,
    Unreachable,
)

log = logging.getLogger(__name__)
T = TypeVar("T")

ATTEMPTS = 4
FIRST_WAIT_S = 0.1
LONGEST_WAIT_S = 1.0
EARLY_S = 60.0
PASSING = frozenset({502, 503, 504})


@dataclass(frozen=True, slots=True)
class Call:
    """One request. ``is_repeatable``: doing it twice changes nothing and answers the same."""

    method: str
    path: str
    json: Mapping[str, object] | None = None
    params: Mapping[str, str] | None = None
    headers: Mapping[str, str] | None = None
    is_repeatable: bool = False


class Wire:
    """HTTP to one scheduler, for any number of callers at once."""

    def __init__(
        self, access: Access, connections: Connections, clock: Clock, timeout_s: float
    ) -> None:
        self._connections = connections
        self._timeout_s = timeout_s
        self._base = base_of(access.url)
        self.login = Login(access, clock)

    @property
    def timeout_s(self) -> float:
        """Return how long one call may take, with all its repetitions."""
        return self._timeout_s

    def url(self, path: str) -> str:
        """Return the URL of a path of the dialect, beside the MCP endpoint."""
        return self._base + path

    def http(self) -> httpx2.AsyncClient:
        """Return the connection pool."""
        return self._connections.to(self._base)

    async def ask(self, call: Call) -> httpx2.Response:
        """Return the answer, whatever its status but 401 and 5xx.

        Raises:
            SchedulerError: as `persist`.
        """

        async def attempt(token: str) -> httpx2.Response:
            response = await self.send(call, token)
            if response.status_code == 401:
                raise TokenNotTaken(self._base)
            if response.status_code >= 500:
                raise server_failed(self._base, response)
            return response

        return await self.persist(attempt, is_repeatable=call.is_repeatable)

    async def persist(self, attempt: Callable[[str], Awaitable[T]], *, is_repeatable: bool) -> T:
        """Return what ``attempt`` returns for a token, repeating only what is safe to repeat.

        Raises:
            Unreachable: nobody listens, or the connection broke.
            TimedOut: no answer in time.
            Unauthorized: credentials or token are refused.
            ServerFailed: 5xx.
        """
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(lambda error: _is_safe(error, is_repeatable)),
            stop=tenacity.stop_after_attempt(ATTEMPTS),
            wait=tenacity.wait_random_exponential(multiplier=FIRST_WAIT_S, max=LONGEST_WAIT_S),
            sleep=anyio.sleep,
            reraise=True,
        )
        try:
            with anyio.fail_after(self._timeout_s):
                return await retrying(self._with_token, attempt)
        except TimeoutError as error:
            problem = f"no answer from {self._base} within {self._timeout_s:g} s"
            raise TimedOut(problem) from error

    async def _with_token(self, attempt: Callable[[str], Awaitable[T]]) -> T:
        token = await self.login.token(self)
        try:
            return await attempt(token)
        except TokenNotTaken:
            # It may have been restarted with another key, or its clock been set.
            self.login.forget(token)
        token = await self.login.token(self)
        try:
            return await attempt(token)
        except TokenNotTaken as error:
            if self.login.missing is None:
                raise
            problem = f"{self._base} takes no API key for a token, and {self.login.missing}"
            raise Unauthorized(problem) from error

    async def send(self, call: Call, token: str | None = None) -> httpx2.Response:
        """Send one request once; transport failures come as errors of this package."""
        headers = dict(call.headers or {})
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        url = call.path if "://" in call.path else self.url(call.path)
        try:
            return await self.http().request(
                call.method,
                url,
                json=call.json,
                params=call.params,
                headers=headers,
                timeout=self._timeout_s,
            )
        except httpx2.TransportError as error:
            raise named(self._base, error) from error
        except httpx2.InvalidURL as error:
            raise Unreachable(f"cannot reach {url}: {error}") from error
        except httpx2.RequestError as error:
            raise ServerFailed(f"{self._base} answers what cannot be read", status=200) from error


class Login:
    """The token of one client, fetched when needed and shared by all callers.

    A server that is no scheduler has nobody to ask for one: then it is shown the API key itself,
    and ``missing`` says so.
    """

    def __init__(self, access: Access, clock: Clock) -> None:
        self._access = access
        self._clock = clock
        self._lock = anyio.Lock()
        self._token: str | None = None
        self._good_until_s = 0.0
        self.missing: ServerFailed | None = None

    async def token(self, wire: Wire) -> str:
        """Return a token that is good for a while.

        Raises:
            Unauthorized: the credentials are refused.
            SchedulerError: as `Wire.ask`.
        """
        async with self._lock:
            if self._token is None or self._clock.monotonic() >= self._good_until_s:
                self._token, life_s = await self._fetch(wire)
                margin_s = min(EARLY_S, life_s / 2)
                self._good_until_s = self._clock.monotonic() + life_s - margin_s
            return self._token

    def forget(self, token: str) -> None:
        """Have the next caller fetch a new token, unless somebody has already."""
        if self._token == token:
            self._token = None

    def insist(self) -> None:
        """Have a login, or end here; the next caller looks for it again.

        Raises:
            ServerFailed: there was none.
        """
        if self.missing is not None:
            self._token = None
            raise self.missing

    async def _fetch(self, wire: Wire) -> tuple[str, float]:
        credentials = {"clientId": self._access.client_id, "apiKey": self._access.api_key}
        call = Call("POST", "/api/auth/token", json=credentials, is_repeatable=True)
        response = await wire.send(call)
        where = wire.url("/api/auth/token")
        self.missing = None
        if response.status_code == 404:
            self.missing = server_failed(where, response, may_have_happened=False)
            return self._access.api_key, 2 * EARLY_S
        if response.status_code in {400, 401, 403}:
            problem = f"{where} refuses the credentials of client {self._access.client_id!r}"
            raise Unauthorized(problem)
        if response.status_code != 200:
            raise server_failed(where, response, may_have_happened=False)
        try:
            answer = response.json()
            return str(answer["token"]), float(answer.get("expiresIn", 2 * EARLY_S))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            problem = f"{where} does not answer as a scheduler's login does"
            raise ServerFailed(problem, status=200, may_have_happened=False) from error


class TokenNotTaken(Unauthorized):
    """The scheduler refuses a token that it gave out itself."""

    def __init__(self, where: str) -> None:
        super().__init__(f"{where} refuses the token that the scheduler gave out itself")


class NoEndpoint(ServerFailed):
    """There is nothing at this address (404 or 405)."""

    def __init__(self, where: str) -> None:
        problem = f"there is no scheduler at {where}"
        super().__init__(problem, status=404, may_have_happened=False)


def base_of(url: str) -> str:
    """Return the URL that the dialect's paths hang under: ``url`` without ``/mcp`` at its end."""
    parts = urlsplit(url)
    path = parts.path.rstrip("/").removesuffix("/mcp")
    return f"{parts.scheme}://{parts.netloc}{path}"


def named(base: str, error: httpx2.TransportError) -> SchedulerError:
    """Return the error of this package for a failure of the transport."""
    if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout):
        return Unreachable(f"cannot reach {base}: {_why(error)}")
    if isinstance(error, httpx2.TimeoutException):
        return TimedOut(f"no answer from {base} in time")
    return Unreachable(f"the connection to {base} broke: {_why(error)}", may_have_happened=True)


def server_failed(
    where: str, response: httpx2.Response, *, may_have_happened: bool = True
) -> ServerFailed:
    """Return the error for an answer of 5xx, or of a login that makes no sense."""
    return ServerFailed(
        f"{where} answers {response.status_code}",
        status=response.status_code,
        may_have_happened=may_have_happened,
    )


def _is_safe(error: BaseException, is_repeatable: bool) -> bool:  # noqa: FBT001 - one caller
    if isinstance(error, Unreachable):
        return is_repeatable or not error.may_have_happened
    if isinstance(error, ServerFailed) and error.status in PASSING:
        return is_repeatable or not error.may_have_happened
    return False


def _why(error: Exception) -> str:
    return str(error) or type(error).__name__
