// MCP server on @modelcontextprotocol/sdk 1.32.2, for the real-SDK tests: `server1.mjs PORT`.
// Environment: SERVER_VERSION (told by whoami), STATELESS=1 (a server per request, no
// sessions), TRANSPORT=sse (HTTP+SSE at /sse instead of Streamable HTTP at /mcp), FAULTS=1
// (tools and headers that go wrong), JSON=1 (no event streams as answers).
// Stateful Streamable HTTP keeps events, so that streams can be resumed, unless faults are on:
// then the end of a stream is the end. AUTH=1: asks for a token, as
// the Python servers do.
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { createMcpExpressApp } from '@modelcontextprotocol/sdk/server/express.js';
import { requireBearerAuth } from '@modelcontextprotocol/sdk/server/auth/middleware/bearerAuth.js';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { SSEServerTransport } from '@modelcontextprotocol/sdk/server/sse.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import {
    CompleteRequestSchema,
    CreateMessageResultSchema,
    ElicitResultSchema,
    McpError,
    SubscribeRequestSchema,
    UnsubscribeRequestSchema
} from '@modelcontextprotocol/sdk/types.js';
import { z } from 'zod';
import { crash, FAULTS, hang, JSON_ANSWERS } from './faults.mjs';
import {
    count, counters, EventStore, notifyProgress, RETRY_MS, serve, sessions, SSE, STATELESS, stats, text, THING, VERSION
} from './shared.mjs';

/** Servers (one a session) whose client subscribed to the thing. */
const subscribers = new Set();

function buildServer() {
    const mcp = new McpServer(
        { name: 'ts1', version: VERSION },
        { capabilities: { logging: {}, resources: { subscribe: true }, ...(FAULTS && { completions: {} }) } }
    );
    const tool = (name, inputSchema, run) =>
        mcp.registerTool(name, { inputSchema }, (args, extra) => {
            counters.calls += name !== 'stats';
            return run(args, extra);
        });

    tool('echo', { text: z.string() }, args => text(args.text));
    tool('regional', { region: z.string().meta({ 'x-mcp-header': 'Region' }), text: z.string() }, args =>
        text(`${args.text} in ${args.region}`)
    );
    tool('whoami', {}, () => text(JSON.stringify({ server: 'ts1', version: VERSION, pid: process.pid })));
    tool('fail', {}, () => {
        throw new Error('failing as told');
    });
    tool('stats', {}, stats);
    tool('count', { steps: z.number(), delay_ms: z.number(), label: z.string().optional() }, (args, extra) =>
        count(args, extra.signal, extra._meta?.progressToken, extra.sendNotification)
    );
    tool('ask_model', { prompt: z.string() }, async ({ prompt }, extra) => {
        const messages = [{ role: 'user', content: { type: 'text', text: prompt } }];
        const answer = await extra.sendRequest(
            { method: 'sampling/createMessage', params: { messages, maxTokens: 50 } },
            CreateMessageResultSchema
        );
        return text(`model said: ${answer.content.text}`);
    });
    tool('ask_user', { question: z.string() }, async ({ question }, extra) => {
        const requestedSchema = {
            type: 'object',
            properties: { answer: { type: 'string' } },
            required: ['answer']
        };
        const reply = await extra.sendRequest(
            { method: 'elicitation/create', params: { mode: 'form', message: question, requestedSchema } },
            ElicitResultSchema
        );
        return text(reply.action === 'accept' ? `user said: ${reply.content.answer}` : `user chose: ${reply.action}`);
    });
    tool('talk', { level: z.string(), text: z.string() }, async (args, extra) => {
        await extra.sendNotification({
            method: 'notifications/message',
            params: { level: args.level, data: args.text }
        });
        return text('logged');
    });
    tool('touch', {}, async () => {
        for (const server of subscribers) await server.sendResourceUpdated({ uri: THING });
        return text('touched');
    });
    // Ends its own event stream after the first progress; the rest is there for who resumes.
    tool('poll', {}, async (_args, extra) => {
        const token = extra._meta?.progressToken;
        await notifyProgress(token, extra.sendNotification, 1, 2);
        extra.closeSSEStream?.();
        await notifyProgress(token, extra.sendNotification, 2, 2);
        return text('polled');
    });
    if (FAULTS) {
        const say = extra => () => notifyProgress(extra._meta?.progressToken, extra.sendNotification, 1, 2);
        tool('raise_code', { code: z.number() }, ({ code }) => {
            throw new McpError(code, 'raising as told');
        });
        tool('hang', {}, (_args, extra) => hang(say(extra)));
        tool('crash', {}, (_args, extra) => crash(say(extra)));
        mcp.server.setRequestHandler(CompleteRequestSchema, ({ params }) => {
            throw new McpError(Number(params.argument.value), 'raising as told');
        });
    }
    mcp.registerResource('thing', THING, {}, () => ({ contents: [{ uri: THING, text: 'a thing' }] }));
    mcp.registerPrompt('greet', { argsSchema: { name: z.string() } }, ({ name }) => ({
        messages: [{ role: 'user', content: { type: 'text', text: `Hello, ${name}!` } }]
    }));

    mcp.server.setRequestHandler(SubscribeRequestSchema, () => {
        subscribers.add(mcp.server);
        return {};
    });
    mcp.server.setRequestHandler(UnsubscribeRequestSchema, () => {
        subscribers.delete(mcp.server);
        return {};
    });
    mcp.server.onclose = () => subscribers.delete(mcp.server);
    return mcp;
}

const refuse = (res, status, code, message) =>
    res.status(status).json({ jsonrpc: '2.0', error: { code, message }, id: null });

const app = createMcpExpressApp();
if (process.env.AUTH === '1') {
    // Tokens `SCOPE.SECONDS`, SECONDS since 1970 being when they end; the SDK looks at both.
    const verifyAccessToken = async token => {
        const [scope, end] = token.split('.');
        return { token, clientId: 'test', scopes: [scope], expiresAt: Number(end) };
    };
    app.use(requireBearerAuth({ verifier: { verifyAccessToken }, requiredScopes: ['mcp'] }));
}

async function openSession() {
    const mcp = buildServer();
    const transport = new StreamableHTTPServerTransport({
        sessionIdGenerator: randomUUID,
        eventStore: FAULTS ? undefined : new EventStore(),
        enableJsonResponse: JSON_ANSWERS,
        retryInterval: RETRY_MS,
        onsessioninitialized: id => sessions.set(id, transport),
        onsessionclosed: id => sessions.delete(id)
    });
    await mcp.connect(transport);
    return transport;
}

if (SSE) {
    app.get('/sse', async (_req, res) => {
        const transport = new SSEServerTransport('/messages', res);
        sessions.set(transport.sessionId, transport);
        res.on('close', () => sessions.delete(transport.sessionId));
        await buildServer().connect(transport);
    });
    app.post('/messages', async (req, res) => {
        const transport = sessions.get(req.query.sessionId);
        if (!transport) return refuse(res, 404, -32001, 'Session not found');
        await transport.handlePostMessage(req, res, req.body);
    });
} else if (STATELESS) {
    app.post('/mcp', async (req, res) => {
        const mcp = buildServer();
        const transport = new StreamableHTTPServerTransport({ sessionIdGenerator: undefined });
        res.on('close', () => mcp.close());
        await mcp.connect(transport);
        await transport.handleRequest(req, res, req.body);
    });
    app.all('/mcp', (_req, res) => refuse(res, 405, -32000, 'Method not allowed.'));
} else {
    app.all('/mcp', async (req, res) => {
        const id = req.headers['mcp-session-id'];
        if (id !== undefined && !sessions.has(id)) return refuse(res, 404, -32001, 'Session not found');
        const transport = sessions.get(id) ?? (await openSession());
        await transport.handleRequest(req, res, req.body);
        // Not an initialize: the transport refused, nobody will use it again.
        if (transport.sessionId === undefined) await transport.close();
    });
}

serve(createServer(app));
