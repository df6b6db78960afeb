// MCP server on @modelcontextprotocol/server 2.4.0, for the real-SDK tests: `server2.mjs PORT`.
// Speaks both eras at /mcp: sessions with resumable streams up to 2025-11-25, no
// sessions from 2026-07-28 on. Environment: SERVER_VERSION (told by whoami),
// STATELESS=1 (the SDK's default: no sessions in the legacy era either), FAULTS=1 (tools and
// headers that go wrong; streams cannot be resumed then), JSON=1 (no event streams as answers).
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { json } from 'node:stream/consumers';
import {
    localhostHostValidation, localhostOriginValidation, NodeStreamableHTTPServerTransport, toNodeHandler, toWebRequest
} from '@modelcontextprotocol/node';
import {
    acceptedContent, createMcpHandler, createRequestStateCodec, inputRequired, inputResponse, isLegacyRequest, McpServer,
    ProtocolError
} from '@modelcontextprotocol/server';
import { z } from 'zod';
import { crash, FAULTS, hang, JSON_ANSWERS, sick, work } from './faults.mjs';
import {
    count, counters, EventStore, notifyProgress, RETRY_MS, serve, sessions, STATELESS, stats, text, THING, VERSION
} from './shared.mjs';

/** Legacy servers (one a session) whose client subscribed to the thing. */
const subscribers = new Set();
/** A key of its own for every process, as it happens in deployments that configure none. */
const states = createRequestStateCodec({ key: randomUUID() + randomUUID() });
const Answer = z.object({ answer: z.string() });

function buildServer({ era }) {
    const mcp = new McpServer(
        { name: 'ts2', version: VERSION },
        {
            capabilities: { logging: {}, resources: { subscribe: true }, ...(FAULTS && { completions: {} }) },
            requestState: { verify: states.verify }
        }
    );
    const tool = (name, shape, run) =>
        mcp.registerTool(name, { inputSchema: z.object(shape) }, (args, ctx) => {
            counters.calls += name !== 'stats';
            return run(args, ctx);
        });

    tool('echo', { text: z.string() }, args => text(args.text));
    tool('regional', { region: z.string().meta({ 'x-mcp-header': 'Region' }), text: z.string() }, args =>
        text(`${args.text} in ${args.region}`)
    );
    tool('whoami', {}, () => text(JSON.stringify({ server: 'ts2', version: VERSION, pid: process.pid })));
    tool('fail', {}, () => {
        throw new Error('failing as told');
    });
    tool('stats', {}, stats);
    tool('count', { steps: z.number(), delay_ms: z.number(), label: z.string().optional() }, (args, { mcpReq }) =>
        count(args, mcpReq.signal, mcpReq._meta?.progressToken, mcpReq.notify)
    );
    tool('ask_model', { prompt: z.string() }, async ({ prompt }, { mcpReq }) => {
        const params = { messages: [{ role: 'user', content: { type: 'text', text: prompt } }], maxTokens: 50 };
        let answer;
        if (era === 'modern') {
            const given = inputResponse(mcpReq.inputResponses, 'model');
            if (given.kind === 'missing') {
                return inputRequired({
                    inputRequests: { model: inputRequired.createMessage(params) },
                    requestState: await states.mint('model asked')
                });
            }
            answer = given.result;
        } else {
            answer = await mcpReq.requestSampling(params);
        }
        return text(`model said: ${answer.content.text}`);
    });
    tool('ask_user', { question: z.string() }, async ({ question }, { mcpReq }) => {
        if (era === 'modern') {
            const given = acceptedContent(mcpReq.inputResponses, 'user', Answer);
            if (given) return text(`user said: ${given.answer}`);
            return inputRequired({
                inputRequests: { user: inputRequired.elicit({ message: question, requestedSchema: Answer }) },
                requestState: await states.mint('user asked')
            });
        }
        const requestedSchema = {
            type: 'object',
            properties: { answer: { type: 'string' } },
            required: ['answer']
        };
        const reply = await mcpReq.elicitInput({ mode: 'form', message: question, requestedSchema });
        return text(reply.action === 'accept' ? `user said: ${reply.content.answer}` : `user chose: ${reply.action}`);
    });
    tool('talk', { level: z.string(), text: z.string() }, async (args, { mcpReq }) => {
        await mcpReq.log(args.level, args.text);
        return text('logged');
    });
    tool('touch', {}, async () => {
        modern.notify.resourceUpdated(THING);
        for (const server of subscribers) await server.sendResourceUpdated({ uri: THING });
        return text('touched');
    });
    // Ends its own event stream after the first progress; the rest is there for who resumes.
    tool('poll', {}, async (_args, { mcpReq, http }) => {
        const token = mcpReq._meta?.progressToken;
        await notifyProgress(token, mcpReq.notify, 1, 2);
        http?.closeSSE?.();
        await notifyProgress(token, mcpReq.notify, 2, 2);
        return text('polled');
    });
    if (FAULTS) {
        const say = mcpReq => () => notifyProgress(mcpReq._meta?.progressToken, mcpReq.notify, 1, 2);
        tool('raise_code', { code: z.number() }, ({ code }) => {
            throw new ProtocolError(code, 'raising as told');
        });
        tool('hang', {}, (_args, { mcpReq }) => hang(say(mcpReq)));
        tool('crash', {}, (_args, { mcpReq }) => crash(say(mcpReq)));
        if (sick() !== 'missing') tool('work', {}, async () => text(await work()));
        mcp.server.setRequestHandler('completion/complete', ({ params }) => {
            const { value } = params.argument;
            if (value !== 'work') throw new ProtocolError(Number(value), 'raising as told');
            if (sick() === 'rpc') throw new ProtocolError(-32603, 'sick');
            return { completion: { values: ['work'] } };
        });
    }
    mcp.registerResource('thing', THING, {}, () => ({ contents: [{ uri: THING, text: 'a thing' }] }));
    mcp.registerPrompt('greet', { argsSchema: z.object({ name: z.string() }) }, ({ name }) => ({
        messages: [{ role: 'user', content: { type: 'text', text: `Hello, ${name}!` } }]
    }));

    if (era === 'legacy') {
        mcp.server.setRequestHandler('resources/subscribe', () => {
            subscribers.add(mcp.server);
            return {};
        });
        mcp.server.setRequestHandler('resources/unsubscribe', () => {
            subscribers.delete(mcp.server);
            return {};
        });
        mcp.server.onclose = () => subscribers.delete(mcp.server);
    }
    return mcp;
}

const modern = createMcpHandler(buildServer, {
    legacy: STATELESS ? 'stateless' : 'reject',
    responseMode: JSON_ANSWERS ? 'json' : 'auto'
});
const modernHandler = toNodeHandler(modern);

async function openSession() {
    const transport = new NodeStreamableHTTPServerTransport({
        sessionIdGenerator: randomUUID,
        eventStore: FAULTS ? undefined : new EventStore(),
        enableJsonResponse: JSON_ANSWERS,
        retryInterval: RETRY_MS,
        onsessioninitialized: id => sessions.set(id, transport),
        onsessionclosed: id => sessions.delete(id)
    });
    await buildServer({ era: 'legacy' }).connect(transport);
    return transport;
}

function refuse(res, status, code, message) {
    res.writeHead(status, { 'content-type': 'application/json' });
    res.end(JSON.stringify({ jsonrpc: '2.0', error: { code, message }, id: null }));
}

async function legacyHandler(req, res, body) {
    const id = req.headers['mcp-session-id'];
    if (id !== undefined && !sessions.has(id)) return refuse(res, 404, -32001, 'Session not found');
    const transport = sessions.get(id) ?? (await openSession());
    await transport.handleRequest(req, res, body);
    // Not an initialize: the transport refused, nobody will use it again.
    if (transport.sessionId === undefined) await transport.close();
}

const hostAllowed = localhostHostValidation();
const originAllowed = localhostOriginValidation();

serve(
    createServer(async (req, res) => {
        if (!hostAllowed(req, res) || !originAllowed(req, res)) return;
        if (!/^\/mcp(\?|$)/.test(req.url)) return refuse(res, 404, -32000, 'Not found');
        if (STATELESS) return modernHandler(req, res);
        let body;
        try {
            if (req.method === 'POST') body = await json(req);
        } catch {
            return refuse(res, 400, -32700, 'Parse error');
        }
        const legacy = await isLegacyRequest(await toWebRequest(req, body), body);
        await (legacy ? legacyHandler(req, res, body) : modernHandler(req, res, body));
    })
);
