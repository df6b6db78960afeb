// Conformance server for the revisions up to 2025-11-25: Streamable HTTP with
// sessions, server requests to the client and resumable event streams.

import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { Server } from '@modelcontextprotocol/sdk/server/index.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import {
    CallToolRequestSchema,
    CompleteRequestSchema,
    CreateMessageResultSchema,
    ElicitResultSchema,
    ErrorCode,
    GetPromptRequestSchema,
    ListPromptsRequestSchema,
    ListResourcesRequestSchema,
    ListResourceTemplatesRequestSchema,
    ListToolsRequestSchema,
    McpError,
    ReadResourceRequestSchema,
    SubscribeRequestSchema,
    UnsubscribeRequestSchema,
} from '@modelcontextprotocol/sdk/types.js';
import * as fixtures from './fixtures.mjs';

const { object, pause, says } = fixtures;
const NOTHING = object({});

// Every message of a session's streams, in the order they were stored.
class Events {
    #log = [];

    async storeEvent(streamId, message) {
        this.#log.push({ streamId, message });
        return String(this.#log.length - 1);
    }

    async getStreamIdForEventId(id) {
        return this.#log[Number(id)]?.streamId;
    }

    async replayEventsAfter(id, { send }) {
        const { streamId } = this.#log[Number(id)];
        for (let next = Number(id) + 1; next < this.#log.length; next += 1) {
            const event = this.#log[next];
            // A priming event is stored as a message without content.
            if (event.streamId === streamId && event.message.jsonrpc) await send(String(next), event.message);
        }
        return streamId;
    }
}

const titled = words => words.map((word, index) => ({ const: word, title: `Choice ${index + 1}` }));
const options = ['option1', 'option2', 'option3'];
const values = ['value1', 'value2', 'value3'];

async function ask(extra, message, requestedSchema) {
    const answer = await extra.sendRequest(
        { method: 'elicitation/create', params: { message, requestedSchema } },
        ElicitResultSchema,
    );
    return says(`Elicitation: action=${answer.action}, content=${JSON.stringify(answer.content ?? {})}`);
}

// Tools that talk to the client while they run.
const tools = {
    ...fixtures.tools,
    test_tool_with_logging: {
        description: 'Logs three times',
        inputSchema: NOTHING,
        run: async (_args, extra) => {
            for (const data of ['started', 'working', 'finished']) {
                await extra.sendNotification({ method: 'notifications/message', params: { level: 'info', data } });
                await pause(50);
            }
            return says('Logged three times.');
        },
    },
    test_tool_with_progress: {
        description: 'Reports progress three times',
        inputSchema: NOTHING,
        run: async (_args, extra) => {
            const progressToken = extra._meta?.progressToken;
            for (const progress of [0, 50, 100]) {
                if (progressToken !== undefined) {
                    await extra.sendNotification({
                        method: 'notifications/progress',
                        params: { progressToken, progress, total: 100 },
                    });
                }
                await pause(50);
            }
            return says('Done.');
        },
    },
    test_sampling: {
        description: 'Asks the client to sample',
        inputSchema: object({ prompt: { type: 'string' } }),
        run: async ({ prompt }, extra) => {
            const answer = await extra.sendRequest(
                {
                    method: 'sampling/createMessage',
                    params: { messages: [{ role: 'user', content: fixtures.text(prompt) }], maxTokens: 100 },
                },
                CreateMessageResultSchema,
            );
            return says(`The model said: ${answer.content.text}`);
        },
    },
    test_elicitation: {
        description: 'Asks the user for a name and an address',
        inputSchema: object({ message: { type: 'string' } }),
        run: ({ message }, extra) =>
            ask(extra, message, object({ username: { type: 'string' }, email: { type: 'string' } })),
    },
    test_elicitation_sep1034_defaults: {
        description: 'Asks the user for values that have defaults',
        inputSchema: NOTHING,
        run: (_args, extra) =>
            ask(
                extra,
                'Check these values',
                object(
                    {
                        name: { type: 'string', default: 'John Doe' },
                        age: { type: 'integer', default: 30 },
                        score: { type: 'number', default: 95.5 },
                        status: { type: 'string', enum: ['active', 'inactive', 'pending'], default: 'active' },
                        verified: { type: 'boolean', default: true },
                    },
                    [],
                ),
            ),
    },
    test_elicitation_sep1330_enums: {
        description: 'Asks the user to choose in five ways',
        inputSchema: NOTHING,
        run: (_args, extra) =>
            ask(
                extra,
                'Choose',
                object(
                    {
                        untitledSingle: { type: 'string', enum: options },
                        titledSingle: { type: 'string', oneOf: titled(values) },
                        legacyEnum: {
                            type: 'string',
                            enum: ['opt1', 'opt2', 'opt3'],
                            enumNames: ['First', 'Second', 'Third'],
                        },
                        untitledMulti: { type: 'array', items: { type: 'string', enum: options } },
                        titledMulti: { type: 'array', items: { anyOf: titled(values) } },
                    },
                    [],
                ),
            ),
    },
    test_reconnection: {
        description: 'Closes its stream before it answers',
        inputSchema: NOTHING,
        run: async (_args, extra) => {
            extra.closeSSEStream?.();
            await pause(200);
            return says('Answered after the stream was closed.');
        },
    },
};

function connect() {
    const server = new Server(
        { name: 'conformance-legacy', version: '1.0.0' },
        {
            capabilities: {
                tools: { listChanged: true },
                resources: { subscribe: true, listChanged: true },
                prompts: { listChanged: true },
                logging: {},
                completions: {},
            },
        },
    );
    const on = (schema, handler) => server.setRequestHandler(schema, (request, extra) => handler(request.params ?? {}, extra));
    on(ListToolsRequestSchema, () => ({ tools: fixtures.listOf(tools) }));
    on(CallToolRequestSchema, ({ name, arguments: args }, extra) => {
        const tool = Object.hasOwn(tools, name) && tools[name];
        if (!tool) throw new McpError(ErrorCode.InvalidParams, `no tool ${name}`);
        return tool.run(args ?? {}, extra);
    });
    on(ListResourcesRequestSchema, () => ({ resources: fixtures.resources }));
    on(ListResourceTemplatesRequestSchema, () => ({ resourceTemplates: fixtures.templates }));
    on(ReadResourceRequestSchema, ({ uri }) => {
        const result = fixtures.read(uri);
        if (!result) throw new McpError(-32002, 'Resource not found', { uri });
        return result;
    });
    on(SubscribeRequestSchema, () => ({}));
    on(UnsubscribeRequestSchema, () => ({}));
    on(ListPromptsRequestSchema, () => ({ prompts: fixtures.listOf(fixtures.prompts) }));
    on(GetPromptRequestSchema, ({ name, arguments: args }) => {
        const prompt = Object.hasOwn(fixtures.prompts, name) && fixtures.prompts[name];
        if (!prompt) throw new McpError(ErrorCode.InvalidParams, `no prompt ${name}`);
        return prompt.run(args ?? {});
    });
    on(CompleteRequestSchema, fixtures.complete);
    return server;
}

const sessions = new Map();

async function body(req) {
    const parts = [];
    for await (const part of req) parts.push(part);
    return JSON.parse(Buffer.concat(parts).toString('utf8'));
}

async function serve(req, res) {
    if (!fixtures.local(req.headers)) return refuse(res, 403, 'Host or Origin is not local');
    if (new URL(req.url, 'http://local').pathname !== '/mcp') return refuse(res, 404, 'no such path');
    let message;
    if (req.method === 'POST') {
        try {
            message = await body(req);
        } catch {
            return fixtures.refuse(res, 400, -32700, 'Parse error');
        }
    }
    const id = req.headers['mcp-session-id'];
    if (id !== undefined) {
        const session = sessions.get(id);
        if (!session) return refuse(res, 404, 'Session not found');
        speakAs(req, session.version);
        return session.transport.handleRequest(req, res, message);
    }
    if (message?.method !== 'initialize') return refuse(res, 400, 'no session id and not an initialize');
    const session = { version: undefined };
    session.transport = new StreamableHTTPServerTransport({
        sessionIdGenerator: randomUUID,
        onsessioninitialized: created => void sessions.set(created, session),
        onsessionclosed: closed => void sessions.delete(closed),
        eventStore: new Events(),
        retryInterval: 100,
    });
    session.version = message.params?.protocolVersion;
    await connect().connect(session.transport);
    return session.transport.handleRequest(req, res, message);
}

// The suite negotiates 2025-11-25 and then names 2025-03-26 in the raw
// requests of its polling scenario, for which the SDK turns polling off. The
// session's own revision is put in its place.
function speakAs(req, version) {
    const name = 'mcp-protocol-version';
    if (version !== '2025-11-25' || req.headers[name] !== '2025-03-26') return;
    req.headers[name] = version;
    const at = req.rawHeaders.findIndex((word, index) => index % 2 === 0 && word.toLowerCase() === name);
    req.rawHeaders[at + 1] = version;
}

function refuse(res, status, why) {
    fixtures.refuse(res, status, -32000, why);
}

fixtures.listen(
    createServer((req, res) => {
        serve(req, res).catch(error => {
            console.error(error);
            if (res.headersSent) res.destroy();
            else fixtures.refuse(res, 500, -32603, 'Internal error');
        });
    }),
);
