"""The named scenarios of the Python MCP clients, over an adapter each client brings.

An adapter is a subclass of `Wire` with era, server_name, protocol and the coroutines
that the scenarios call. Results are plain dicts in the wire's spelling.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import pathlib
import sys
import urllib.error
import urllib.request
import uuid

import anyio

LIMIT_SECONDS = 20
ORDER = (
    "tools",
    "progress",
    "sampling",
    "elicitation",
    "subscribe",
    "logging",
    "cancel",
    "prompts",
    "resume",
    "modern",
    "delete",
)
FLAVOURS = json.loads((pathlib.Path(__file__).parent.parent / "scenarios.json").read_text("utf-8"))


class NotApplicable(Exception):
    """The scenario makes no sense for this pair; the text says why."""


def expect(condition: object, complaint: str) -> None:
    if not condition:
        raise AssertionError(complaint)


def answer_for(prompt: str) -> str:
    """What the model of the client says."""
    return f"ebb after {prompt}"


def form_content(schema: dict) -> dict:
    """What the user of the client fills in: every required field."""
    return {name: "seven" for name in schema.get("required", [])}


def text_of(result: dict) -> str:
    return "\n".join(part.get("text", "") for part in result["content"])


class Wire:
    """What a client sees of its own HTTP traffic, plus the answers it gives to servers."""

    def __init__(self, options) -> None:
        self.url = options.url
        self.wire = options.transport
        self.wanted_era = options.era
        self.session_id: str | None = None
        self.resumptions = 0
        self.region_header_seen = False
        self.get_open = anyio.Event()
        self.logs: list[object] = []
        self.updates: dict[str, anyio.Event] = {}

    @property
    def stateless(self) -> bool:
        return self.wire == "http" and self.session_id is None

    async def on_request(self, request) -> None:
        self.resumptions += request.method == "GET" and "last-event-id" in request.headers
        self.region_header_seen |= "mcp-param-region" in request.headers

    async def on_response(self, response) -> None:
        self.session_id = response.headers.get("mcp-session-id", self.session_id)
        if response.request.method == "GET" and response.status_code == 200:
            self.get_open.set()

    def watch(self, client):
        """Hooks this object into an httpx (or httpx2) client."""
        client.event_hooks = {"request": [self.on_request], "response": [self.on_response]}
        return client

    def note_update(self, uri: object) -> None:
        self.updates.setdefault(str(uri), anyio.Event()).set()

    def update_of(self, uri: str) -> anyio.Event:
        self.updates[uri] = anyio.Event()
        return self.updates[uri]

    async def call_with_dead_session(self, session_id: str) -> int:
        """HTTP status of a plain tools/list under the given session id."""
        headers = {
            "content-type": "application/json",
            "accept": "application/json, text/event-stream",
            "mcp-session-id": session_id,
            "mcp-protocol-version": self.protocol,
        }
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}).encode()

        def post() -> int:
            try:
                with urllib.request.urlopen(urllib.request.Request(self.url, body, headers), timeout=10) as answer:
                    return answer.status
            except urllib.error.HTTPError as refusal:
                return refusal.code

        return await anyio.to_thread.run_sync(post)


class Progress:
    """Progress of one call: the numbers seen, and an event for the first."""

    def __init__(self) -> None:
        self.seen: list[float] = []
        self.first = anyio.Event()

    async def __call__(self, progress: float, total: float | None, message: str | None) -> None:
        self.seen.append(progress)
        self.first.set()


class Run:
    def __init__(self, adapter) -> None:
        self.adapter = adapter
        self.tools: list[str] = []
        self.flavour: dict = {}
        self.everything = False

    async def prepare(self) -> None:
        self.tools = await self.adapter.list_tools()
        self.everything = "get-sum" in self.tools
        self.flavour = FLAVOURS["everything" if self.everything else "common"]

    def part(self, name: str) -> dict:
        if name not in self.flavour:
            raise NotApplicable("server-everything has no tool for it")
        return self.flavour[name]

    def needs_session(self) -> None:
        if self.adapter.stateless:
            raise NotApplicable("needs a session and the server keeps none")

    def needs_tool(self, name: str) -> None:
        if name not in self.tools:
            raise NotApplicable(f"the server offers no {name} to this client")

    async def call_tools(self) -> str:
        part = self.part("echo")
        answer = await self.adapter.call(part["tool"], part["args"])
        expect(text_of(answer) == part["text"], "echo came back changed")
        part = self.part("failing")
        answer = await self.adapter.call(part["tool"], part["args"])
        expect(answer.get("isError"), "the failing call was no tool error")
        told = f"{len(self.tools)} tools, echo ok, failing call is a tool error"
        if self.everything:
            return told
        seen = set()
        for _ in range(10):
            seen.add(text_of(await self.adapter.call("whoami", {})))
        expect(len(seen) == 1, f"{len(seen)} different servers answered one client")
        return f"{told}, version constant over 10 calls"

    async def call_progress(self) -> str:
        part = self.part("progress")
        progress = Progress()
        answer = await self.adapter.call(part["tool"], part["args"], progress)
        expect(text_of(answer) == part["text"], f"unexpected result {text_of(answer)!r}")
        expect(progress.seen == list(range(1, part["steps"] + 1)), f"progress seen: {progress.seen}")
        return f"{part['steps']} steps in order"

    async def call_sampling(self) -> str:
        part = self.part("sampling")
        if self.adapter.era == "legacy":
            self.needs_session()
        self.needs_tool(part["tool"])
        answers: dict[str, str] = {}

        async def ask(prompt: str) -> None:
            answers[prompt] = text_of(await self.adapter.call(part["tool"], {part["argument"]: prompt}))

        async with anyio.create_task_group() as group:
            for prompt in part["prompts"]:
                group.start_soon(ask, prompt)
        for prompt, answer in answers.items():
            expect(part["template"].replace("{prompt}", prompt) in answer, f"wrong answer to {prompt!r}: {answer!r}")
        return f"{len(answers)} parallel questions, each with its own answer"

    async def call_elicitation(self) -> str:
        part = self.part("elicitation")
        if self.adapter.era == "legacy":
            self.needs_session()
        self.needs_tool(part["tool"])
        answer = text_of(await self.adapter.call(part["tool"], part["args"]))
        expect(part["contains"] in answer, f"unexpected result {answer!r}")
        return "the user's answer reached the tool"

    async def call_subscribe(self) -> str:
        part = self.part("subscribe")
        if self.adapter.era == "legacy":
            self.needs_session()
            with anyio.fail_after(5):
                await self.adapter.get_open.wait()
        contents = await self.adapter.read_resource(part["uri"])
        expect(contents, "the resource could not be read")
        async with self.adapter.subscription(part["uri"]) as updated:
            await self.adapter.call(part["tool"], part["args"])
            with anyio.fail_after(10):
                await updated()
        return "read, subscribed, update heard"

    async def call_logging(self) -> str:
        part = self.part("logging")
        await self.adapter.set_level("debug")
        await self.adapter.call(part["tool"], part["args"])
        with anyio.fail_after(5):
            while part["data"] not in self.adapter.logs:
                await anyio.sleep(0.02)
        return "log message received"

    async def call_cancel(self) -> str:
        part = self.part("cancel")
        if self.adapter.era == "legacy":
            self.needs_session()
        label = uuid.uuid4().hex
        await self.adapter.cancelled_call(part["tool"], {**part["args"], "label": label}, Progress())
        with anyio.fail_after(8):
            while label not in json.loads(text_of(await self.adapter.call("stats", {})))["labels"]:
                await anyio.sleep(0.05)
        return "cancelled after the first step, the server knows"

    async def call_prompts(self) -> str:
        part = self.part("prompts")
        expect(part["prompt"] in await self.adapter.list_prompts(), "prompt not listed")
        got = await self.adapter.get_prompt(part["prompt"], part["args"])
        expect(part["contains"] in got["messages"][0]["content"]["text"], "unexpected prompt text")
        return "listed and rendered"

    async def call_resume(self) -> str:
        part = self.part("resume")
        if self.adapter.wire == "sse":
            raise NotApplicable("HTTP+SSE has no resumption")
        if self.adapter.era == "modern":
            raise NotApplicable("the modern era has no resumption")
        self.needs_session()
        before = self.adapter.resumptions
        progress = Progress()
        answer = await self.adapter.call(part["tool"], part["args"], progress)
        expect(text_of(answer) == part["text"], f"unexpected result {text_of(answer)!r}")
        expect(self.adapter.resumptions > before, "the stream was not resumed with Last-Event-ID")
        expect(progress.seen == part["progress"], f"progress seen: {progress.seen}")
        return "stream ended early, resumed with Last-Event-ID, nothing lost"

    async def call_modern(self) -> str:
        if self.adapter.era != "modern":
            raise NotApplicable("the connection is legacy")
        part = self.part("modern")
        versions = await self.adapter.discover()
        expect(self.adapter.protocol in versions, f"discover lists {versions}")
        answer = text_of(await self.adapter.call(part["tool"], part["args"]))
        expect(answer == part["text"], f"unexpected result {answer!r}")
        expect(self.adapter.region_header_seen, "the client sent no Mcp-Param-Region header")
        expect(self.adapter.session_id is None, "a session id was handed out in the modern era")
        return "discovered, Mcp-Param header with non-ASCII value accepted, no session id"

    def check_delete(self) -> None:
        if self.adapter.wire == "sse":
            raise NotApplicable("HTTP+SSE has no DELETE")
        if self.adapter.stateless:
            raise NotApplicable("no session to delete")

    async def after_delete(self, session_id: str) -> str:
        """The adapter's context is gone and has sent its DELETE; the id must be dead now."""
        status = await self.adapter.call_with_dead_session(session_id)
        expect(400 <= status < 500, f"a later call was answered with {status}")
        return "deleted, a later call is refused"


def report(scenario: str, ok: bool | None, detail: str) -> bool:
    print(json.dumps({"scenario": scenario, "ok": ok, "detail": detail}, ensure_ascii=False), flush=True)
    return ok is not False


def complaint_of(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}".strip()


async def guarded(name: str, work) -> bool:
    """Runs one scenario within its time limit and prints its line."""
    try:
        with anyio.fail_after(LIMIT_SECONDS):
            return report(name, True, await work())
    except NotApplicable as reason:
        return report(name, None, str(reason))
    except Exception as error:
        return report(name, False, complaint_of(error))


async def run_all(adapter, wanted: set[str] | None) -> bool:
    run = Run(adapter)
    good = True
    connected = False
    session_id = None
    try:
        async with adapter:
            with anyio.fail_after(LIMIT_SECONDS):
                await run.prepare()
            connected = True
            session_id = adapter.session_id
            good &= report("connect", True, f"{adapter.era} era, {adapter.protocol}, server {adapter.server_name}")
            for name in ORDER:
                if (wanted and name not in wanted) or name == "delete":
                    continue
                good &= await guarded(name, getattr(run, f"call_{name}"))
    except Exception as error:
        good &= report("close" if connected else "connect", False, complaint_of(error))
    if connected and (not wanted or "delete" in wanted):

        async def delete() -> str:
            run.check_delete()
            return await run.after_delete(session_id)

        good &= await guarded("delete", delete)
    return good


def main(make_adapter, eras: tuple[str, ...]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--transport", choices=("http", "sse"), default="http")
    parser.add_argument("--era", choices=("legacy", "auto", "modern"), default="legacy")
    parser.add_argument("--only", help="names of scenarios, separated by commas")
    options = parser.parse_args()
    wanted = set(options.only.split(",")) if options.only else None
    if options.era not in eras:
        good = report("connect", None, f"this SDK does not speak era {options.era}")
    else:
        good = asyncio.run(run_all(make_adapter(options), wanted))
    print(json.dumps({"done": True}), flush=True)
    sys.exit(0 if good else 1)
