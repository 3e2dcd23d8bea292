"""The endpoints of the .NET service: health, tokens, and the two doors to the tools."""

import time
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from orchestrator.scheduler.server import answers, bodies, catalogue
from orchestrator.scheduler.server.store import Store, StoreFailed
from orchestrator.scheduler.server.tokens import TokenRefused, Tokens
from orchestrator.scheduler.server.tools import ToolRefused, Tools

PAGE = "<!DOCTYPE html><title>MCP Scheduler</title><h1>MCP Scheduler</h1>"


class Health:
    """Tells whether the store can be read and written: in short to GET, at length to the rest."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def short(self, _request: Request) -> Response:
        """Answer ``GET /health``."""
        reason = await self._reason()
        if reason is None:
            return answers.Json({"status": "healthy"})
        return answers.Json({"status": "unhealthy", "reason": reason}, 503)

    async def long(self, _request: Request) -> Response:
        """Answer any other method on ``/health``."""
        started = time.perf_counter()
        reason = await self._reason()
        took = _duration(time.perf_counter() - started)
        word = "Healthy" if reason is None else "Unhealthy"
        checks = [_check("ApplicationDbContext", word, reason, took), _check("self", "Healthy")]
        content = {"status": word, "checks": checks, "totalDuration": took}
        # As in .NET: this one has no charset.
        response = answers.Json(content, 200 if reason is None else 503)
        response.headers["content-type"] = "application/json"
        return response

    async def _reason(self) -> str | None:
        try:
            await self._store.check()
        except StoreFailed as error:
            return str(error)
        return None


class Login:
    """Tokens for those who have the API key."""

    def __init__(self, tokens: Tokens, largest_body_bytes: int) -> None:
        self._tokens = tokens
        self._largest = largest_body_bytes

    async def token(self, request: Request) -> Response:
        """Answer ``POST /api/auth/token``."""
        fields = await bodies.read_fields(request, self._largest)
        client_id = bodies.text_field(fields, "clientId")
        api_key = bodies.text_field(fields, "apiKey")
        if not self._tokens.knows(api_key) or not client_id:
            return answers.Problem(401)
        token = self._tokens.issue(client_id)
        return answers.Json({"token": token, "expiresIn": self._tokens.life_s})

    async def validate(self, request: Request) -> Response:
        """Answer ``POST /api/auth/validate``."""
        fields = await bodies.read_fields(request, self._largest)
        token = bodies.text_field(fields, "token")
        try:
            client: str | None = self._tokens.client_of(token)
        except TokenRefused:
            client = None
        return answers.Json({"isValid": client is not None, "clientId": client})


class ToolDoors:
    """The tools as plain HTTP: ``/api/mcptools`` and the older ``/mcp/tools``, ``/mcp/execute``."""

    def __init__(self, tools: Tools, store: Store, largest_body_bytes: int) -> None:
        self._tools = tools
        self._store = store
        self._largest = largest_body_bytes

    async def tools(self, _request: Request) -> Response:
        """Answer ``GET /api/mcptools/tools``."""
        await self._store.check()
        return answers.Json({"tools": [tool.as_tool() for tool in catalogue.TOOLS]})

    async def choices(self, _request: Request) -> Response:
        """Answer ``GET /mcp/tools``."""
        await self._store.check()
        return answers.Json({"toolChoices": [tool.as_choice() for tool in catalogue.TOOLS]})

    async def execute(self, request: Request) -> Response:
        """Answer ``POST /api/mcptools/execute``."""
        fields = await bodies.read_fields(request, self._largest)
        name = bodies.text_field(fields, "name") if "name" in fields else ""
        arguments = fields.get("arguments")
        if arguments is not None:
            arguments = bodies.object_field(fields, "arguments")
        tool = next((t for t in catalogue.TOOLS if t.name.lower() == name.lower()), None)
        if tool is None:
            return answers.error(f"Unknown tool: {name}")
        if arguments is None:
            return answers.error(f"Arguments are required for {tool.name}")
        try:
            return answers.Json({"result": await self._tools.call(tool, _texts(arguments))})
        except ToolRefused as refusal:
            return answers.error(str(refusal))

    async def execute_choice(self, request: Request) -> Response:
        """Answer ``POST /mcp/execute``, which in the published service never succeeds."""
        fields = await bodies.read_fields(request, self._largest)
        name = bodies.text_field(fields, "toolId")
        arguments = _texts(bodies.object_field(fields, "toolParameters"))
        tool = next((t for t in catalogue.TOOLS if t.name == name), None)
        if tool is None:
            return answers.error(f"Unknown tool ID: {name}")
        if any(p.is_required and arguments.get(p.name) is None for p in tool.parameters):
            is_schedule = tool is catalogue.SCHEDULE
            missing = "required parameters" if is_schedule else "conversationId parameter"
            return answers.error(f"Missing {missing}")
        try:
            result = await self._tools.call(tool, arguments)
        except ToolRefused as refusal:
            return answers.error(str(refusal))
        return answers.Json({"toolId": name, "toolResult": result})


def _texts(arguments: Mapping[str, object]) -> dict[str, str | None]:
    return {name: bodies.as_text(value) for name, value in arguments.items()}


def _check(
    name: str, status: str, description: str | None = None, duration: str = "00:00:00"
) -> dict[str, str | None]:
    return {"name": name, "status": status, "description": description, "duration": duration}


def _duration(seconds: float) -> str:
    # A TimeSpan as .NET writes it; a health check does not take hours.
    return f"00:{int(seconds // 60) % 60:02}:{seconds % 60:010.7f}"
