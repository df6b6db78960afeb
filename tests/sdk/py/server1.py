"""MCP server on Python mcp 1.30.0, for the real-SDK tests: `server1.py PORT`.

Environment: SERVER_VERSION (told by whoami), STATELESS=1 (no sessions),
TRANSPORT=sse (HTTP+SSE at /sse instead of Streamable HTTP at /mcp), FAULTS=1
(tools and headers that go wrong), JSON=1 (no event streams as answers).
Stateful Streamable HTTP keeps events, so that streams can be resumed, unless
faults are on: then the end of a stream is the end.
AUTH, CHANGED and DELAY_MS: see states.py.
"""

from __future__ import annotations

import json
import os
from typing import Annotated

import anyio
from mcp import types
from mcp.server.fastmcp import Context, FastMCP
from mcp.server.streamable_http import EventMessage, EventStore
from mcp.shared.exceptions import McpError
from pydantic import AnyUrl, BaseModel, Field

import faults
from serve import serve
from sessions import SessionContext, event_store
from states import change, lock, slow

VERSION = os.environ.get("SERVER_VERSION", "0.0.0")
STATELESS = os.environ.get("STATELESS") == "1"
SSE = os.environ.get("TRANSPORT") == "sse"
THING = "test://thing"

mcp = FastMCP(
    "py1",
    log_level="WARNING",
    stateless_http=STATELESS,
    json_response=faults.JSON,
    event_store=None if STATELESS or SSE or faults.ON else event_store(EventStore, EventMessage),
    retry_interval=200,
    **lock(),
)
mcp._mcp_server.version = VERSION

calls = 0
cancelled: list[str] = []
subscribers: dict[object, None] = {}


def tool():
    """Registers a tool that answers plain text only."""
    return mcp.tool(structured_output=False)


def counted() -> None:
    global calls
    calls += 1


@tool()
def echo(text: str) -> str:
    counted()
    return text


@tool()
def regional(region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})], text: str) -> str:
    counted()
    return f"{text} in {region}"


@tool()
def whoami() -> str:
    counted()
    return json.dumps({"server": "py1", "version": VERSION, "pid": os.getpid()})


@tool()
def fail() -> str:
    counted()
    raise RuntimeError("failing as told")


@tool()
async def count(ctx: Context, steps: int, delay_ms: int, label: str = "") -> str:
    counted()
    try:
        for step in range(1, steps + 1):
            await anyio.sleep(delay_ms / 1000)
            await ctx.report_progress(step, steps)
    except anyio.get_cancelled_exc_class():
        cancelled.append(label)
        raise
    return f"counted {steps}"


@tool()
def stats() -> str:
    sessions = 0 if SSE else len(mcp.session_manager._server_instances)
    return json.dumps(
        {"sessions": sessions, "calls": calls, "cancelled": len(cancelled), "labels": cancelled[-50:]}
    )


@tool()
async def ask_model(ctx: Context, prompt: str) -> str:
    counted()
    message = types.SamplingMessage(role="user", content=types.TextContent(type="text", text=prompt))
    answer = await ctx.session.create_message([message], max_tokens=50, related_request_id=ctx.request_id)
    return f"model said: {answer.content.text}"


class Answer(BaseModel):
    answer: str


@tool()
async def ask_user(ctx: Context, question: str) -> str:
    counted()
    reply = await ctx.elicit(question, Answer)
    return f"user said: {reply.data.answer}" if reply.action == "accept" else f"user chose: {reply.action}"


@tool()
async def talk(ctx: Context, level: str, text: str) -> str:
    counted()
    await ctx.log(level, text)
    return "logged"


@tool()
async def touch() -> str:
    counted()
    for session in list(subscribers):
        try:
            await session.send_resource_updated(AnyUrl(THING))
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            subscribers.pop(session, None)
    return "touched"


@tool()
async def poll(ctx: Context) -> str:
    """Ends its own event stream after the first progress; the rest is there for who resumes."""
    counted()
    await ctx.report_progress(1, 2)
    await ctx.close_sse_stream()
    await ctx.report_progress(2, 2)
    return "polled"


if faults.ON:

    @tool()
    def raise_code(code: int) -> str:
        raise McpError(types.ErrorData(code=code, message="raising as told"))

    @tool()
    async def hang(ctx: Context) -> str:
        await ctx.report_progress(1, 2)
        await anyio.sleep_forever()

    @tool()
    async def crash(ctx: Context) -> str:
        await ctx.report_progress(1, 2)
        await anyio.sleep(faults.SOON)
        faults.crash()

    @mcp.completion()
    async def complete(ref, argument, context):
        raise McpError(types.ErrorData(code=int(argument.value), message="raising as told"))


@mcp.resource(THING)
def thing() -> str:
    return "a thing"


@mcp.prompt()
def greet(name: str) -> str:
    return f"Hello, {name}!"


@mcp._mcp_server.subscribe_resource()
async def subscribe(uri: AnyUrl) -> None:
    subscribers[mcp._mcp_server.request_context.session] = None


@mcp._mcp_server.unsubscribe_resource()
async def unsubscribe(uri: AnyUrl) -> None:
    subscribers.pop(mcp._mcp_server.request_context.session, None)


@mcp._mcp_server.set_logging_level()
async def set_level(level: types.LoggingLevel) -> None:
    """Only there to declare the capability: every message is sent."""


def advertise_subscriptions() -> None:
    """This SDK says `subscribe: false` even where the handler exists."""
    original = mcp._mcp_server.get_capabilities

    def capabilities(*args):
        found = original(*args)
        found.resources.subscribe = True
        return found

    mcp._mcp_server.get_capabilities = capabilities


advertise_subscriptions()
change(mcp, tool)
serve(slow(mcp.sse_app() if SSE else SessionContext(mcp.streamable_http_app())))
