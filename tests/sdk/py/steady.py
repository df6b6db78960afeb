"""A long-lived application on Python mcp 2.3.0, for the chaos runs: `steady.py URL`.

Calls `echo` with something new and `whoami` in turn, on one session for as long as that works;
on any error it connects anew, as an application would. Ends on SIGTERM. Prints a JSON line for
each failure: `from` and `to` in milliseconds since 1970, `server` (the version of its session,
null before that is known), `error`; and a last one: `done`, `calls`, `wrong` (answers that are
not what was asked for, or of another server).
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time

import anyio
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

PAUSE = 0.2
PATIENCE = 20

ending = False
calls = 0
wrong: list[str] = []


def end(*_) -> None:
    global ending
    ending = True


def now() -> int:
    return time.time_ns() // 1_000_000


async def text(client: Client, name: str, **arguments: str) -> str:
    global calls
    answer = await client.call_tool(name, arguments)
    calls += 1
    if answer.is_error:
        raise RuntimeError(answer.content[0].text)
    return answer.content[0].text


class Application:
    def __init__(self, url: str) -> None:
        self.url = url
        self.began = now()
        self.server: str | None = None

    async def session(self) -> None:
        """Works until it shall end, or something fails."""
        self.server = None
        self.began = now()
        async with (
            create_mcp_http_client() as http,
            Client(streamable_http_client(self.url, http_client=http), mode="legacy") as client,
        ):
            self.server = client.server_info.version
            while not ending:
                await anyio.sleep(PAUSE)
                self.began = now()
                with anyio.fail_after(PATIENCE):
                    await self.work(client)
            self.began = now()

    async def work(self, client: Client) -> None:
        asked = f"python-{os.getpid()}-{self.began}"
        if (told := await text(client, "echo", text=asked)) != asked:
            wrong.append(f"{asked}: {told}")
        told = json.loads(await text(client, "whoami"))["version"]
        if told != self.server:
            wrong.append(f"{asked}: of {self.server}, answered by {told}")

    async def run(self) -> None:
        while not ending:
            try:
                await self.session()
            except Exception as error:
                line = {"from": self.began, "to": now(), "server": self.server, "error": repr(error)}
                print(json.dumps(line), flush=True)
                await anyio.sleep(PAUSE)
        print(json.dumps({"done": True, "calls": calls, "wrong": wrong}), flush=True)


signal.signal(signal.SIGTERM, end)
anyio.run(Application(sys.argv[1]).run)
