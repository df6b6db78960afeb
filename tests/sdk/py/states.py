"""States that a Python MCP server can be put in: locked, changed, slow."""

from __future__ import annotations

import os

import anyio
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings


class Verifier:
    """Knows tokens `SCOPE.SECONDS`, SECONDS since 1970 being when they end; the SDK looks at both."""

    async def verify_token(self, token: str) -> AccessToken | None:
        scope, dot, end = token.partition(".")
        if not dot or not end.isdigit():
            return None
        return AccessToken(token=token, client_id="test", scopes=[scope], expires_at=int(end))


def lock() -> dict:
    """AUTH=1: arguments that make the SDK ask for a token of the scope `mcp`."""
    if os.environ.get("AUTH") != "1":
        return {}
    settings = AuthSettings(
        issuer_url="https://issuer.example",
        resource_server_url=None,
        required_scopes=["mcp"],
    )
    return {"auth": settings, "token_verifier": Verifier()}


def change(mcp, tool) -> None:
    """CHANGED=1: one tool is gone, one is new, one wants more than before."""
    if os.environ.get("CHANGED") != "1":
        return
    mcp.remove_tool("poll")
    mcp.remove_tool("echo")

    @tool()
    def echo(text: str, times: int) -> str:
        return text * times

    @tool()
    def shout(text: str) -> str:
        return text.upper()


def slow(app):
    """DELAY_MS: how long the server thinks before it looks at a request."""
    pause = int(os.environ.get("DELAY_MS", "0")) / 1000
    if pause == 0:
        return app

    async def slowed(scope, receive, send) -> None:
        if scope["type"] == "http":
            await anyio.sleep(pause)
        await app(scope, receive, send)

    return slowed
