"""MCP server on Python mcp 2.3.0, for the real-SDK tests: `server2.py PORT`.

Speaks both eras at /mcp: sessions up to 2025-11-25, none from 2026-07-28 on.
Environment: SERVER_VERSION (told by whoami), STATELESS=1 (no sessions in the
legacy era either), TRANSPORT=sse (HTTP+SSE at /sse instead of /mcp), FAULTS=1
(tools and headers that go wrong; streams cannot be resumed then), JSON=1 (no
event streams as answers).
AUTH, CHANGED and DELAY_MS: see states.py.
"""

from __future__ import annotations

import json
import os
import warnings
from typing import Annotated

import anyio
import mcp_types as types
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.streamable_http import EventMessage, EventStore
from mcp.shared.exceptions import MCPDeprecationWarning, MCPError
from pydantic import BaseModel, Field

import faults
from serve import serve
from sessions import SessionContext, event_store
from states import change, lock, slow

warnings.simplefilter("ignore", MCPDeprecationWarning)

VERSION = os.environ.get("SERVER_VERSION", "0.0.0")
STATELESS = os.environ.get("STATELESS") == "1"
SSE = os.environ.get("TRANSPORT") == "sse"
THING = "test://thing"

mcp = MCPServer("py2", version=VERSION, log_level="ERROR", **lock())

calls = 0
cancelled: list[str] = []
subscribers: dict[object, None] = {}


def tool():
    """Registers a tool that answers plain text only."""
    return mcp.tool(structured_output=False)


def counted() -> None:
    global calls
    calls += 1


def modern(ctx: Context) -> bool:
    return ctx.protocol_version >= "2026-07-28"


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
    return json.dumps({"server": "py2", "version": VERSION, "pid": os.getpid()})


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
async def ask_model(ctx: Context, prompt: str) -> str | types.InputRequiredResult:
    counted()
    message = types.SamplingMessage(role="user", content=types.TextContent(type="text", text=prompt))
    if modern(ctx):
        answer = (ctx.input_responses or {}).get("model")
        if answer is None:
            request = types.CreateMessageRequest(
                params=types.CreateMessageRequestParams(messages=[message], max_tokens=50)
            )
            return types.InputRequiredResult(input_requests={"model": request}, request_state="model asked")
    else:
        answer = await ctx.session.create_message([message], max_tokens=50, related_request_id=ctx.request_id)
    return f"model said: {answer.content.text}"


class Answer(BaseModel):
    answer: str


@tool()
async def ask_user(ctx: Context, question: str) -> str | types.InputRequiredResult:
    counted()
    if modern(ctx):
        reply = (ctx.input_responses or {}).get("user")
        if reply is None:
            form = types.ElicitRequestFormParams(message=question, requested_schema=Answer.model_json_schema())
            return types.InputRequiredResult(
                input_requests={"user": types.ElicitRequest(params=form)}, request_state="user asked"
            )
        said = (reply.content or {}).get("answer")
    else:
        reply = await ctx.elicit(question, Answer)
        said = reply.data.answer if reply.action == "accept" else None
    return f"user said: {said}" if reply.action == "accept" else f"user chose: {reply.action}"


@tool()
async def talk(ctx: Context, level: str, text: str) -> str:
    counted()
    await ctx.log(level, text)
    return "logged"


@tool()
async def touch(ctx: Context) -> str:
    counted()
    await ctx.notify_resource_updated(THING)
    for connection in list(subscribers):
        try:
            await connection.send_resource_updated(THING)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            subscribers.pop(connection, None)
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
        raise MCPError(code, "raising as told")

    @tool()
    async def hang(ctx: Context) -> str:
        await ctx.report_progress(1, 2)
        await anyio.sleep_forever()

    @tool()
    async def crash(ctx: Context) -> str:
        await ctx.report_progress(1, 2)
        await anyio.sleep(faults.SOON)
        faults.crash()

    if faults.sick() != "missing":

        @tool()
        async def work() -> str:
            return await faults.work()

    @mcp.completion()
    async def complete(ref, argument, context):
        if argument.value != "work":
            raise MCPError(int(argument.value), "raising as told")
        if faults.sick() == "rpc":
            raise MCPError(-32603, "sick")
        return types.Completion(values=["work"])


@mcp.resource(THING)
def thing() -> str:
    return "a thing"


@mcp.prompt()
def greet(name: str) -> str:
    return f"Hello, {name}!"


async def subscribe(ctx, params: types.SubscribeRequestParams) -> types.EmptyResult:
    subscribers[ctx.session._connection] = None
    return types.EmptyResult()


async def unsubscribe(ctx, params: types.UnsubscribeRequestParams) -> types.EmptyResult:
    subscribers.pop(ctx.session._connection, None)
    return types.EmptyResult()


async def set_level(ctx, params: types.SetLevelRequestParams) -> types.EmptyResult:
    """Only there to declare the capability: every message is sent."""
    return types.EmptyResult()


lowlevel = mcp._lowlevel_server
lowlevel.add_request_handler("resources/subscribe", types.SubscribeRequestParams, subscribe)
lowlevel.add_request_handler("resources/unsubscribe", types.UnsubscribeRequestParams, unsubscribe)
lowlevel.add_request_handler("logging/setLevel", types.SetLevelRequestParams, set_level)

change(mcp, tool)
if SSE:
    serve(slow(mcp.sse_app()))
else:
    store = None if STATELESS or faults.ON else event_store(EventStore, EventMessage)
    app = mcp.streamable_http_app(
        stateless_http=STATELESS, json_response=faults.JSON, event_store=store, retry_interval=200
    )
    serve(slow(SessionContext(app)))
