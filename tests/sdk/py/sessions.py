"""Per-session event store for the Python MCP servers.

The Python SDK hands one event store to all sessions and names a stream by its
JSON-RPC request id alone, so equal ids of two sessions would be mixed up on a
replay. Here an ASGI wrapper notes which session a request belongs to, in a
context variable that the session's tasks inherit, and the store keeps the
sessions apart by it.
"""

from __future__ import annotations

import contextvars
import itertools


class Session:
    """The stored events of one session, oldest first: (event id, stream id, message)."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, object]] = []


_current: contextvars.ContextVar[Session] = contextvars.ContextVar("session")


class SessionContext:
    """ASGI wrapper: sets the context variable from the session id of a request or response."""

    def __init__(self, app) -> None:
        self.app = app
        self.sessions: dict[bytes, Session] = {}

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        named = dict(scope["headers"]).get(b"mcp-session-id")
        session = self.sessions.get(named) or Session()

        async def learn(message) -> None:
            if message["type"] == "http.response.start":
                minted = dict(message.get("headers", ())).get(b"mcp-session-id")
                if minted is not None and minted != named:
                    self.sessions[minted] = session
            await send(message)

        token = _current.set(session)
        try:
            await self.app(scope, receive, learn)
        finally:
            _current.reset(token)
            if scope["method"] == "DELETE":
                self.sessions.pop(named, None)


def event_store(base: type, event_message: type):
    """An event store built on the SDK's abstract class `base`."""

    class Store(base):
        def __init__(self) -> None:
            self.ids = itertools.count(1)

        async def store_event(self, stream_id, message):
            event_id = f"e{next(self.ids)}"
            _current.get().events.append((event_id, stream_id, message))
            return event_id

        async def replay_events_after(self, last_event_id, send_callback):
            events = _current.get().events
            start = next((i for i, e in enumerate(events) if e[0] == last_event_id), None)
            if start is None:
                return None
            stream = events[start][1]
            for event_id, stream_id, message in events[start + 1 :]:
                if stream_id == stream and message is not None:
                    await send_callback(event_message(message, event_id))
            return stream

    return Store()
