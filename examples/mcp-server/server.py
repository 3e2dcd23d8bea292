"""An MCP server over streamable HTTP, with a health route and a key that is checked."""

import hmac
import os
import sys

import uvicorn
from mcp.server import MCPServer
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from starlette.requests import Request
from starlette.responses import JSONResponse

port = int(sys.argv[1])
url = f"http://127.0.0.1:{port}"


class KeyVerifier:
    """Takes the key itself for a bearer token."""

    async def verify_token(self, token: str) -> AccessToken | None:
        """Return who it is, or None for a wrong key."""
        if not hmac.compare_digest(token.encode(), os.environ["API_KEY"].encode()):
            return None
        return AccessToken(token=token, client_id="example", scopes=[], resource=f"{url}/mcp")


mcp = MCPServer(
    "tools",
    token_verifier=KeyVerifier(),
    auth=AuthSettings(
        issuer_url=url, resource_server_url=f"{url}/mcp", validate_token_resource=True
    ),
)


@mcp.tool()
def add(first: int, second: int) -> int:
    """Add two numbers."""
    return first + second


@mcp.custom_route("/health", methods=["GET"])
async def health(request: Request) -> JSONResponse:
    """Tell that the server is up."""
    return JSONResponse({"status": "healthy"})


app = mcp.streamable_http_app(host="127.0.0.1", stateless_http=True)
uvicorn.run(app, host="127.0.0.1", port=port)
