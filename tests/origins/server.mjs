// Node's own HTTP server: it writes down what it understood, a JSON line a request, to the file that
// SEEN names, before it answers with the request line and the body. Usage: server.mjs PORT
import { appendFileSync } from 'node:fs';
import { createServer } from 'node:http';

const server = createServer({ maxHeaderSize: 65536 }, async (request, response) => {
    let body = '';
    request.setEncoding('latin1');
    try {
        for await (const piece of request) body += piece;
    } catch {
        return; // Half a message is none.
    }
    const headers = [];
    for (let at = 0; at < request.rawHeaders.length; at += 2) {
        headers.push([request.rawHeaders[at].toLowerCase(), request.rawHeaders[at + 1]]);
    }
    const { method, url: target } = request;
    appendFileSync(process.env.SEEN, JSON.stringify({ method, target, headers, body }) + '\n');
    response.setHeader('x-origin', 'node');
    if (method === 'HEAD') {
        response.writeHead(204).end();
        return;
    }
    const text = Buffer.from(`${method} ${target} ${body}`, 'latin1');
    response.writeHead(200, { 'content-length': text.length }).end(text);
});
server.listen(Number(process.argv[2]), '127.0.0.1');
