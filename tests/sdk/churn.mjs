// Load for the real-SDK tests: sessions that come and go, on @modelcontextprotocol/sdk 1.32.2.
// Usage: churn.mjs URL [--seconds S] [--sessions N] [--concurrency C]
// C loops each open a session (initialize, initialized, GET stream), call whoami three times,
// and DELETE it, until S seconds are over or N sessions were begun. Prints one JSON line:
// sessions (finished), violations (a session that was answered by two servers), errors (by
// text), by_version (finished sessions). Exits 0 iff there were neither violations nor errors.
import { parseArgs } from 'node:util';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';

const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
        seconds: { type: 'string', default: '10' },
        sessions: { type: 'string', default: 'Infinity' },
        concurrency: { type: 'string', default: '20' }
    }
});
const url = new URL(positionals[0]);
const end = Date.now() + Number(values.seconds) * 1000;
const most = Number(values.sessions);

let begun = 0;
const summary = { sessions: 0, violations: 0, errors: {}, by_version: {} };
const add = (table, key) => (table[key] = (table[key] ?? 0) + 1);

async function oneSession() {
    const client = new Client({ name: 'tide-churn', version: '1.0.0' });
    const transport = new StreamableHTTPClientTransport(url);
    try {
        await client.connect(transport);
        const seen = new Set();
        for (let i = 0; i < 3; i++) {
            const answer = await client.callTool({ name: 'whoami', arguments: {} }, undefined, { timeout: 20_000 });
            seen.add(answer.content[0].text);
        }
        await transport.terminateSession();
        summary.sessions++;
        if (seen.size > 1) summary.violations++;
        add(summary.by_version, JSON.parse([...seen][0]).version);
    } catch (error) {
        add(summary.errors, `${error.name}: ${error.message}`);
    } finally {
        await client.close().catch(() => {});
    }
}

async function loop() {
    while (Date.now() < end && begun < most) {
        begun++;
        await oneSession();
    }
}

await Promise.all(Array.from({ length: Number(values.concurrency) }, loop));
console.log(JSON.stringify(summary));
process.exit(summary.violations === 0 && Object.keys(summary.errors).length === 0 ? 0 : 1);
