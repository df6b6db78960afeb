"""MCP client on Python mcp 2.3.0, for the real-SDK tests.

Usage: client2.py URL [--transport http|sse] [--era legacy|auto|modern] [--only a,b]
Runs the scenarios of scenarios.py on one connection, one JSON line each. `auto`
asks server/discover and falls back to sessions, `modern` is pinned to 2026-07-28.
"""

from __future__ import annotations

import contextlib
import warnings

import anyio
import mcp_types as types
from mcp import Client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.exceptions import MCPDeprecationWarning, MCPError

from scenarios import Wire, answer_for, form_content, main

warnings.simplefilter("ignore", MCPDeprecationWarning)

MODERN = "2026-07-28"


def plain(model) -> dict:
    return model.model_dump(by_alias=True, mode="json", exclude_none=True)


class Adapter(Wire):
    async def __aenter__(self):
        self.stack = contextlib.AsyncExitStack()
        await self.stack.__aenter__()
        try:
            await self.open()
        except BaseException as error:
            if not await self.stack.__aexit__(type(error), error, error.__traceback__):
                raise
        return self

    async def __aexit__(self, *reason):
        return await self.stack.__aexit__(*reason)

    async def open(self) -> None:
        if self.wire == "sse":
            transport = sse_client(
                self.url, httpx_client_factory=lambda **kwargs: self.watch(create_mcp_http_client(**kwargs))
            )
        else:
            http = await self.stack.enter_async_context(self.watch(create_mcp_http_client()))
            transport = streamable_http_client(self.url, http_client=http)
        self.client = await self.stack.enter_async_context(
            Client(
                transport,
                mode=MODERN if self.wanted_era == "modern" else self.wanted_era,
                sampling_callback=self.on_sampling,
                elicitation_callback=self.on_elicitation,
                logging_callback=self.on_log,
                message_handler=self.on_message,
                log_level="debug",
            )
        )
        self.protocol = self.client.protocol_version
        self.era = "modern" if self.protocol >= MODERN else "legacy"
        # A pinned client has asked the server nothing yet.
        self.server_name = self.client.server_info.name if self.client.server_info else "unknown"

    async def on_sampling(self, context, params):
        text = types.TextContent(type="text", text=answer_for(params.messages[0].content.text))
        return types.CreateMessageResult(role="assistant", content=text, model="tide", stop_reason="endTurn")

    async def on_elicitation(self, context, params):
        return types.ElicitResult(action="accept", content=form_content(params.requested_schema))

    async def on_log(self, params) -> None:
        self.logs.append(params.data)

    async def on_message(self, message) -> None:
        if isinstance(message, types.ResourceUpdatedNotification):
            self.note_update(message.params.uri)

    async def list_tools(self) -> list[str]:
        return [tool.name for tool in (await self.client.list_tools()).tools]

    async def call(self, name, arguments, progress=None) -> dict:
        return plain(await self.client.call_tool(name, arguments, progress_callback=progress))

    async def cancelled_call(self, name, arguments, progress) -> None:
        """Cancels the call after its first step: legacy by notification, modern by closing its connection."""
        async with anyio.create_task_group() as group:

            async def run() -> None:
                with contextlib.suppress(MCPError):
                    await self.call(name, arguments, progress)

            group.start_soon(run)
            await progress.first.wait()
            group.cancel_scope.cancel()

    @contextlib.asynccontextmanager
    async def subscription(self, uri):
        if self.era == "modern":
            async with self.client.listen(resource_subscriptions=[uri]) as events:
                yield events.__anext__
            return
        updated = self.update_of(uri)
        await self.client.subscribe_resource(uri)
        yield updated.wait
        await self.client.unsubscribe_resource(uri)

    async def read_resource(self, uri) -> list:
        return (await self.client.read_resource(uri)).contents

    async def set_level(self, level) -> None:
        if self.era == "legacy":
            await self.client.set_logging_level(level)

    async def list_prompts(self) -> list[str]:
        return [prompt.name for prompt in (await self.client.list_prompts()).prompts]

    async def get_prompt(self, name, arguments) -> dict:
        return plain(await self.client.get_prompt(name, arguments))

    async def discover(self) -> list[str]:
        return list((await self.client.session.discover()).supported_versions)


main(Adapter, ("legacy", "auto", "modern"))
