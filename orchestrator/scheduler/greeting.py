"""The first words to a scheduler: does it speak standard MCP, of which era, or only the dialect?

One raw request settles it; the MCP SDK, a second of import, is only needed if the answer is yes.
"""

import json
from dataclasses import dataclass
from typing import Any

import httpx2

from orchestrator import __version__
from orchestrator.scheduler.wire import Call, Wire

MODERN = "2026-07-28"
LEGACY = "legacy"
UNSUPPORTED_VERSION = -32022
MODERN_ERRORS = frozenset({-32020, -32021, UNSUPPORTED_VERSION})
NO_MCP = frozenset({404, 405, 501})


@dataclass(frozen=True, slots=True)
class Greeting:
    """How a server wants to be spoken to: a protocol version, ``legacy``, or None for no MCP."""

    mode: str | None


async def greet(wire: Wire, url: str) -> Greeting:
    """Ask the server at ``url`` with ``server/discover``.

    Anything but a sign of the modern era, or of no MCP at all, means the older handshake.

    Raises:
        SchedulerError: as `Wire.ask`.

    Source: the specification of 2026-07-28, on telling the eras apart.
    """
    response = await wire.ask(
        Call("POST", url, json=_discover(), headers=_headers(), is_repeatable=True)
    )
    message = message_of(response)
    result, error = message.get("result"), message.get("error")
    if isinstance(result, dict) and isinstance(result.get("supportedVersions"), list):
        return Greeting(MODERN if MODERN in result["supportedVersions"] else LEGACY)
    if isinstance(error, dict) and error.get("code") in MODERN_ERRORS:
        return Greeting(MODERN)
    is_silent = "jsonrpc" not in message and response.status_code in NO_MCP
    return Greeting(None if is_silent else LEGACY)


def message_of(response: httpx2.Response) -> dict[str, Any]:
    """Return the JSON-RPC message of an answer, JSON or event stream; empty if it is none."""
    text = response.text
    if response.headers.get("content-type", "").startswith("text/event-stream"):
        data = [line[5:].strip() for line in text.splitlines() if line.startswith("data:")]
        text = next((line for line in reversed(data) if line), "")
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return message if isinstance(message, dict) else {}


def _headers() -> dict[str, str]:
    return {
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": MODERN,
        "Mcp-Method": "server/discover",
    }


def _discover() -> dict[str, object]:
    meta = {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientInfo": {"name": "orchestrator", "version": __version__},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    return {"jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": {"_meta": meta}}
