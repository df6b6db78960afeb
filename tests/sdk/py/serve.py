"""Runs an ASGI app for the Python MCP servers: free port, one ready line, quick death."""

from __future__ import annotations

import os
import signal
import socket
import sys

import uvicorn

import faults


class _Server(uvicorn.Server):
    async def startup(self, sockets=None) -> None:
        await super().startup(sockets=sockets)
        # After uvicorn's own handlers: open streams must not delay the end.
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        print(f"listening {sockets[0].getsockname()[1]}", flush=True)


def serve(app) -> None:
    """Serves `app` on 127.0.0.1 at the port named by the first argument (0: any free one)."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", int(sys.argv[1])))
    if faults.ON:
        app = faults.Faults(app)
    _Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])
