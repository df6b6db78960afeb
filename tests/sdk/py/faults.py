"""Faults on demand, for the tests of what a router makes of them; off unless FAULTS=1.

A request names its fault in the header `x-fault`: `500` is answered with that status, `cut` loses
its connection after 0.4 s, and the answer of `end` ends after that time as if it were complete.

A file, named by SICK_FILE, says what else the server suffers from at the moment: in the tool `work`
it is `error`, `slow`, `hang` or `crash`, in completions `rpc`, and everywhere `500`; `missing` is the
tool when the server starts.
"""

from __future__ import annotations

import os

import anyio

ON = os.environ.get("FAULTS") == "1"
JSON = os.environ.get("JSON") == "1"

SICK_FILE = os.environ.get("SICK_FILE")

# Longer than what a router takes for the race of a request with a closing connection.
SOON = 0.4


class Faults:
    """ASGI wrapper around an app; has to be the outermost."""

    def __init__(self, app) -> None:
        self.app = app

    async def __call__(self, scope, receive, send) -> None:
        named = dict(scope.get("headers", ())).get(b"x-fault")
        if named == b"500" or (scope["type"] == "http" and sick() == "500"):
            await send({"type": "http.response.start", "status": 500, "headers": []})
            await send({"type": "http.response.body", "body": b"Internal Server Error"})
        elif named in (b"cut", b"end"):
            with anyio.move_on_after(SOON):
                await self.app(scope, receive, send)
                return
            if named == b"cut":
                send.__self__.transport.abort()
            else:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        else:
            await self.app(scope, receive, send)


def sick() -> str:
    """What the file says."""
    if SICK_FILE is None:
        return ""
    with open(SICK_FILE, encoding="utf-8") as file:
        return file.read()


async def work() -> str:
    """Works, if the file does not say otherwise."""
    match sick():
        case "error":
            raise RuntimeError("sick")
        case "slow":
            await anyio.sleep(SOON)
        case "hang":
            await anyio.sleep_forever()
        case "crash":
            crash()
    return "done"


def crash() -> None:
    """Ends the process as nobody can handle."""
    os.kill(os.getpid(), 9)
