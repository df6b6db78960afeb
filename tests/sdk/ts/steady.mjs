// A long-lived application on @modelcontextprotocol/sdk 1.32.2, for the chaos runs: `steady.mjs URL`.
// What it does and prints is told in ../py/steady.py.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';

const PAUSE = 200;
const PATIENCE = 20_000;

const url = new URL(process.argv[2]);
const wrong = [];
let ending = false;
let calls = 0;
let began = Date.now();
let server = null;

process.on('SIGTERM', () => (ending = true));
const pause = () => new Promise(resolve => setTimeout(resolve, PAUSE));

async function text(client, name, args) {
    const answer = await client.callTool({ name, arguments: args }, undefined, { timeout: PATIENCE });
    calls++;
    if (answer.isError) throw new Error(answer.content[0].text);
    return answer.content[0].text;
}

async function work(client) {
    const asked = `typescript-${process.pid}-${began}`;
    const echoed = await text(client, 'echo', { text: asked });
    if (echoed !== asked) wrong.push(`${asked}: ${echoed}`);
    const told = JSON.parse(await text(client, 'whoami', {})).version;
    if (told !== server) wrong.push(`${asked}: of ${server}, answered by ${told}`);
}

async function session() {
    server = null;
    began = Date.now();
    const client = new Client({ name: 'steady', version: '1.0.0' });
    const transport = new StreamableHTTPClientTransport(url);
    try {
        await client.connect(transport, { timeout: PATIENCE });
        server = client.getServerVersion().version;
        while (!ending) {
            await pause();
            began = Date.now();
            await work(client);
        }
        began = Date.now();
        await transport.terminateSession();
    } finally {
        await client.close().catch(() => {});
    }
}

while (!ending) {
    try {
        await session();
    } catch (error) {
        console.log(JSON.stringify({ from: began, to: Date.now(), server, error: `${error.name}: ${error.message}` }));
        await pause();
    }
}
console.log(JSON.stringify({ done: true, calls, wrong }));
process.exit(0);
