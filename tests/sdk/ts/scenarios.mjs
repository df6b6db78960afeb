// The named scenarios of the TypeScript MCP clients, over an adapter each client brings.
// An adapter extends `Wire` and adds era, protocol, serverName and the calls used below.
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';

const LIMIT_MS = 20_000;
const FLAVOURS = JSON.parse(readFileSync(new URL('./scenarios.json', import.meta.url), 'utf8'));

/** Thrown by a scenario that makes no sense for this pair; the message says why. */
class NotApplicable extends Error {}

function expect(condition, complaint) {
    if (!condition) throw new Error(complaint);
}

/** Rejects when `promise` takes longer than `ms`. */
async function within(ms, promise, what) {
    const timer = new AbortController();
    const late = delay(ms, undefined, { signal: timer.signal }).then(() => {
        throw new Error(`${what} took over ${ms / 1000} s`);
    });
    try {
        return await Promise.race([promise, late]);
    } finally {
        timer.abort();
        late.catch(() => {});
    }
}

const textOf = result => result.content.map(part => part.text ?? '').join('\n');
const seenAll = (seen, wanted) => JSON.stringify(seen) === JSON.stringify(wanted);

/** What the model of the client says. */
export const modelAnswer = params => ({
    role: 'assistant',
    model: 'tide',
    stopReason: 'endTurn',
    content: { type: 'text', text: `ebb after ${params.messages[0].content.text}` }
});

/** What the user of the client fills in: every required field. */
export const userAnswer = params => ({
    action: 'accept',
    content: Object.fromEntries((params.requestedSchema.required ?? []).map(name => [name, 'seven']))
});

/** What a client sees of its own HTTP traffic and of notifications. */
export class Wire {
    sessionId;
    resumptions = 0;
    regionHeaderSeen = false;
    logs = [];
    events = new EventTarget();

    constructor({ url, transport, era }) {
        this.url = new URL(url);
        this.wire = transport;
        this.wantedEra = era;
        this.getOpen = once(this.events, 'get-open');
        this.fetch = this.fetch.bind(this);
    }

    get stateless() {
        return this.wire === 'http' && this.sessionId === undefined;
    }

    async fetch(input, init = {}) {
        const headers = new Headers(init.headers);
        const method = init.method ?? 'GET';
        if (method === 'GET' && headers.has('last-event-id')) this.resumptions++;
        if (headers.has('mcp-param-region')) this.regionHeaderSeen = true;
        const response = await fetch(input, init);
        this.sessionId = response.headers.get('mcp-session-id') ?? this.sessionId;
        if (method === 'GET' && response.ok) this.events.dispatchEvent(new Event('get-open'));
        return response;
    }

    noteUpdate(uri) {
        this.events.dispatchEvent(new Event(`updated ${uri}`));
    }

    noteLog(data) {
        this.logs.push(data);
        this.events.dispatchEvent(new Event('log'));
    }

    /** HTTP status of a plain tools/list under the given session id. */
    async callWithDeadSession(sessionId) {
        const response = await fetch(this.url, {
            method: 'POST',
            headers: {
                'content-type': 'application/json',
                accept: 'application/json, text/event-stream',
                'mcp-session-id': sessionId,
                'mcp-protocol-version': this.protocol
            },
            body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list' })
        });
        await response.body?.cancel();
        return response.status;
    }
}

class Run {
    constructor(adapter, tools) {
        this.adapter = adapter;
        this.toolNames = tools;
        this.everything = tools.includes('get-sum');
        this.flavour = FLAVOURS[this.everything ? 'everything' : 'common'];
    }

    part(name) {
        if (!this.flavour[name]) throw new NotApplicable('server-everything has no tool for it');
        return this.flavour[name];
    }

    needsSession() {
        if (this.adapter.era === 'legacy' && this.adapter.stateless) {
            throw new NotApplicable('needs a session and the server keeps none');
        }
    }

    needsTool(name) {
        if (!this.toolNames.includes(name)) throw new NotApplicable(`the server offers no ${name} to this client`);
    }

    async tools() {
        let part = this.part('echo');
        expect(textOf(await this.adapter.call(part.tool, part.args)) === part.text, 'echo came back changed');
        part = this.part('failing');
        expect((await this.adapter.call(part.tool, part.args)).isError, 'the failing call was no tool error');
        const told = `${this.toolNames.length} tools, echo ok, failing call is a tool error`;
        if (this.everything) return told;
        const seen = new Set();
        for (let i = 0; i < 10; i++) seen.add(textOf(await this.adapter.call('whoami', {})));
        expect(seen.size === 1, `${seen.size} different servers answered one client`);
        return `${told}, version constant over 10 calls`;
    }

    async progress() {
        const part = this.part('progress');
        const seen = [];
        const answer = await this.adapter.call(part.tool, part.args, { onprogress: p => seen.push(p.progress) });
        expect(textOf(answer) === part.text, `unexpected result ${textOf(answer)}`);
        const wanted = Array.from({ length: part.steps }, (_, i) => i + 1);
        // The SDK drops a progress whose result comes in the same chunk: over HTTP+SSE it hands on
        // both at once, and the result takes the progress handler away first.
        if (this.adapter.wire === 'sse' && seen.length === part.steps - 1) wanted.pop();
        expect(seenAll(seen, wanted), `progress seen: ${seen}`);
        return `${part.steps} steps in order`;
    }

    async sampling() {
        const part = this.part('sampling');
        this.needsSession();
        this.needsTool(part.tool);
        const answers = await Promise.all(
            part.prompts.map(prompt => this.adapter.call(part.tool, { [part.argument]: prompt }))
        );
        part.prompts.forEach((prompt, i) => {
            const got = textOf(answers[i]);
            expect(got.includes(part.template.replace('{prompt}', prompt)), `wrong answer to ${prompt}: ${got}`);
        });
        return `${answers.length} parallel questions, each with its own answer`;
    }

    async elicitation() {
        const part = this.part('elicitation');
        this.needsSession();
        this.needsTool(part.tool);
        const answer = textOf(await this.adapter.call(part.tool, part.args));
        expect(answer.includes(part.contains), `unexpected result ${answer}`);
        return "the user's answer reached the tool";
    }

    async subscribe() {
        const part = this.part('subscribe');
        this.needsSession();
        if (this.adapter.era === 'legacy') await within(5000, this.adapter.getOpen, 'opening the GET stream');
        expect((await this.adapter.readResource(part.uri)).length, 'the resource could not be read');
        const updated = once(this.adapter.events, `updated ${part.uri}`);
        const end = await this.adapter.subscribe(part.uri);
        await this.adapter.call(part.tool, part.args);
        await within(10_000, updated, 'the update');
        await end();
        return 'read, subscribed, update heard';
    }

    async logging() {
        const part = this.part('logging');
        await this.adapter.setLevel('debug');
        const heard = once(this.adapter.events, 'log');
        await this.adapter.call(part.tool, part.args);
        await within(5000, heard, 'the log message');
        expect(this.adapter.logs.includes(part.data), `logs seen: ${this.adapter.logs}`);
        return 'log message received';
    }

    async cancel() {
        const part = this.part('cancel');
        this.needsSession();
        const label = randomUUID();
        const enough = new AbortController();
        const call = this.adapter.call(part.tool, { ...part.args, label }, {
            signal: enough.signal,
            onprogress: () => enough.abort('enough')
        });
        const outcome = await within(5000, call.then(() => 'finished', () => 'cancelled'), 'cancelling');
        expect(outcome === 'cancelled', 'the call was not cancelled');
        for (const end = Date.now() + 8000; ; await delay(50)) {
            if (JSON.parse(textOf(await this.adapter.call('stats', {}))).labels.includes(label)) break;
            expect(Date.now() < end, 'the server never saw the cancellation');
        }
        return 'cancelled after the first step, the server knows';
    }

    async prompts() {
        const part = this.part('prompts');
        expect((await this.adapter.listPrompts()).includes(part.prompt), 'prompt not listed');
        const got = await this.adapter.getPrompt(part.prompt, part.args);
        expect(got.messages[0].content.text.includes(part.contains), 'unexpected prompt text');
        return 'listed and rendered';
    }

    async resume() {
        const part = this.part('resume');
        if (this.adapter.wire === 'sse') throw new NotApplicable('HTTP+SSE has no resumption');
        if (this.adapter.era === 'modern') throw new NotApplicable('the modern era has no resumption');
        this.needsSession();
        const before = this.adapter.resumptions;
        const seen = [];
        const answer = await this.adapter.call(part.tool, part.args, { onprogress: p => seen.push(p.progress) });
        expect(textOf(answer) === part.text, `unexpected result ${textOf(answer)}`);
        expect(this.adapter.resumptions > before, 'the stream was not resumed with Last-Event-ID');
        expect(seenAll(seen, part.progress), `progress seen: ${seen}`);
        return 'stream ended early, resumed with Last-Event-ID, nothing lost';
    }

    async modern() {
        if (this.adapter.era !== 'modern') throw new NotApplicable('the connection is legacy');
        const part = this.part('modern');
        const versions = await this.adapter.discover();
        expect(versions.includes(this.adapter.protocol), `discover lists ${versions}`);
        const answer = textOf(await this.adapter.call(part.tool, part.args));
        expect(answer === part.text, `unexpected result ${answer}`);
        expect(this.adapter.regionHeaderSeen, 'the client sent no Mcp-Param-Region header');
        expect(this.adapter.sessionId === undefined, 'a session id was handed out in the modern era');
        return 'discovered, Mcp-Param header with non-ASCII value accepted, no session id';
    }

    async delete() {
        if (this.adapter.wire === 'sse') throw new NotApplicable('HTTP+SSE has no DELETE');
        if (this.adapter.stateless) throw new NotApplicable('no session to delete');
        const id = this.adapter.sessionId;
        await this.adapter.deleteSession();
        const status = await this.adapter.callWithDeadSession(id);
        expect(status >= 400 && status < 500, `a later call was answered with ${status}`);
        return 'deleted, a later call is refused';
    }
}

const ORDER = [
    'tools', 'progress', 'sampling', 'elicitation', 'subscribe', 'logging', 'cancel', 'prompts', 'resume', 'modern',
    'delete'
];

function report(scenario, ok, detail) {
    console.log(JSON.stringify({ scenario, ok, detail }));
    return ok !== false;
}

async function guarded(name, work) {
    try {
        return report(name, true, await within(LIMIT_MS, work(), name));
    } catch (error) {
        if (error instanceof NotApplicable) return report(name, null, error.message);
        return report(name, false, `${error.name}: ${error.message}`);
    }
}

/** Command line, scenarios in order, exit code: the whole client but its SDK. */
export async function main(Adapter, eras) {
    const { values, positionals } = parseArgs({
        allowPositionals: true,
        options: {
            transport: { type: 'string', default: 'http' },
            era: { type: 'string', default: 'legacy' },
            only: { type: 'string' }
        }
    });
    const wanted = values.only?.split(',');
    let good = true;
    if (!eras.includes(values.era)) {
        report('connect', null, `this SDK does not speak era ${values.era}`);
    } else {
        const adapter = new Adapter({ url: positionals[0], ...values });
        let run;
        good = await guarded('connect', async () => {
            await adapter.connect();
            run = new Run(adapter, await adapter.listTools());
            return `${adapter.era} era, ${adapter.protocol}, server ${adapter.serverName}`;
        });
        for (const name of ORDER) {
            if (run && (!wanted || wanted.includes(name))) good = (await guarded(name, () => run[name]())) && good;
        }
        if (run) await within(5000, adapter.close(), 'closing').catch(() => {});
    }
    console.log(JSON.stringify({ done: true }));
    process.exit(good ? 0 : 1);
}
