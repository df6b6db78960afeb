"""An ASGI application that writes down what its server understood: a JSON line a request, to the
file that SEEN names, before it answers with the request line and the body.
"""

import json
import os


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while (await receive())["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    body = b""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            # Half a message is none.
            return
        body += message.get("body", b"")
        more = message.get("more_body", False)
    target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
    seen = {
        "method": scope["method"],
        "target": target.decode("latin-1"),
        "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]],
        "body": body.decode("latin-1"),
    }
    with open(os.environ["SEEN"], "a", encoding="utf-8") as file:
        file.write(json.dumps(seen) + "\n")
    if seen["method"] == "HEAD":
        await send({"type": "http.response.start", "status": 204, "headers": [(b"x-origin", b"asgi")]})
        await send({"type": "http.response.body"})
        return
    text = f"{seen['method']} {seen['target']} {seen['body']}".encode("latin-1")
    headers = [(b"x-origin", b"asgi"), (b"content-length", str(len(text)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": text})
