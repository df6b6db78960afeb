"""MCP client on Python mcp 1.30.0, for the real-SDK tests.

Usage: client1.py URL [--transport http|sse] [--era legacy] [--only a,b]
Runs the scenarios of scenarios.py on one session, one JSON line each.
"""

from __future__ import annotations

import contextlib

import anyio
from mcp import ClientSession, McpError, types
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from pydantic import AnyUrl

from scenarios import Wire, answer_for, form_content, main


def plain(model) -> dict:
    return model.model_dump(by_alias=True, mode="json", exclude_none=True)


class Adapter(Wire):
    era = "legacy"

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
            factory = lambda **kwargs: self.watch(create_mcp_http_client(**kwargs))  # noqa: E731
            read, write = await self.stack.enter_async_context(sse_client(self.url, httpx_client_factory=factory))
        else:
            http = await self.stack.enter_async_context(self.watch(create_mcp_http_client()))
            read, write, _ = await self.stack.enter_async_context(
                streamable_http_client(self.url, http_client=http)
            )
        self.session = await self.stack.enter_async_context(
            ClientSession(
                read,
                write,
                sampling_callback=self.on_sampling,
                elicitation_callback=self.on_elicitation,
                logging_callback=self.on_log,
                message_handler=self.on_message,
            )
        )
        hello = await self.session.initialize()
        self.protocol = hello.protocolVersion
        self.server_name = hello.serverInfo.name

    async def on_sampling(self, context, params):
        text = types.TextContent(type="text", text=answer_for(params.messages[0].content.text))
        return types.CreateMessageResult(role="assistant", content=text, model="tide", stopReason="endTurn")

    async def on_elicitation(self, context, params):
        return types.ElicitResult(action="accept", content=form_content(params.requestedSchema))

    async def on_log(self, params) -> None:
        self.logs.append(params.data)

    async def on_message(self, message) -> None:
        if isinstance(message, types.ServerNotification) and isinstance(
            message.root, types.ResourceUpdatedNotification
        ):
            self.note_update(message.root.params.uri)

    async def list_tools(self) -> list[str]:
        return [tool.name for tool in (await self.session.list_tools()).tools]

    async def call(self, name, arguments, progress=None) -> dict:
        return plain(await self.session.call_tool(name, arguments, progress_callback=progress))

    async def cancelled_call(self, name, arguments, progress) -> None:
        """Cancels the call after its first step. This SDK has no cancelling of its own: the notification is sent by hand."""
        request_id = self.session._request_id

        async def cancel() -> None:
            await progress.first.wait()
            params = types.CancelledNotificationParams(requestId=request_id, reason="enough")
            await self.session.send_notification(
                types.ClientNotification(types.CancelledNotification(params=params))
            )

        async with anyio.create_task_group() as group:
            group.start_soon(cancel)
            with contextlib.suppress(McpError), anyio.move_on_after(5):
                await self.call(name, arguments, progress)

    @contextlib.asynccontextmanager
    async def subscription(self, uri):
        updated = self.update_of(uri)
        await self.session.subscribe_resource(AnyUrl(uri))
        yield updated.wait
        await self.session.unsubscribe_resource(AnyUrl(uri))

    async def read_resource(self, uri) -> list:
        return (await self.session.read_resource(AnyUrl(uri))).contents

    async def set_level(self, level) -> None:
        await self.session.set_logging_level(level)

    async def list_prompts(self) -> list[str]:
        return [prompt.name for prompt in (await self.session.list_prompts()).prompts]

    async def get_prompt(self, name, arguments) -> dict:
        return plain(await self.session.get_prompt(name, arguments))


main(Adapter, ("legacy",))
