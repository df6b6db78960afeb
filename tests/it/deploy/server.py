"""A small MCP server: PORT VERSION. Its serverInfo says the version."""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT, VERSION = int(sys.argv[1]), sys.argv[2]
INFO = {"name": "fixture", "version": VERSION}
RESULTS = {
    "initialize": {
        "protocolVersion": "2025-06-18",
        "capabilities": {"tools": {}},
        "serverInfo": INFO,
    },
    "tools/list": {"tools": [{"name": "add"}, {"name": "echo"}]},
    "ping": {},
}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, message=None):
        body = json.dumps(message).encode() if message else b""
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        number, method = asked.get("id"), asked.get("method")
        if number is None:
            self.answer(202)
        elif method in RESULTS:
            self.answer(200, {"jsonrpc": "2.0", "id": number, "result": RESULTS[method]})
        else:
            error = {"code": -32601, "message": "Method not found"}
            self.answer(400, {"jsonrpc": "2.0", "id": number, "error": error})

    def do_GET(self):
        self.answer(405)


ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
