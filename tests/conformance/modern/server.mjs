// Conformance server for 2026-07-28: stateless requests, input_required
// rounds with sealed state, listen streams, the tasks extension (written here,
// as the SDK has no runtime for it) and the skills extension.

import { randomBytes, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { toNodeHandler } from '@modelcontextprotocol/node';
import {
    acceptedContent,
    createMcpHandler,
    createRequestStateCodec,
    fromJsonSchema,
    inputRequired,
    McpServer,
    MissingRequiredClientCapabilityError,
    ProtocolError,
    ResourceTemplate,
} from '@modelcontextprotocol/server';
import { memorySkillFiles, SkillsExtension } from '@modelcontextprotocol/server/ext/skills';
import * as fixtures from './fixtures.mjs';

const { object, pause, says } = fixtures;
const NOTHING = object({});
const TASKS = 'io.modelcontextprotocol/tasks';
const INVALID_PARAMS = -32602;

const declared = ctx => ctx.mcpReq.envelope?.['io.modelcontextprotocol/clientCapabilities'] ?? {};
const hasTasks = ctx => declared(ctx).extensions?.[TASKS] !== undefined;
const need = requiredCapabilities => new MissingRequiredClientCapabilityError({ requiredCapabilities });
const needTasks = () => need({ extensions: { [TASKS]: {} } });

// The seal is this process's own, so a round that a router sends to another
// process is refused there.
const seal = createRequestStateCodec({ key: randomBytes(32) });

const ask = (message, properties) =>
    inputRequired.elicit({ message, requestedSchema: object(properties) });
const sample = (words, maxTokens) =>
    inputRequired.createMessage({ messages: [{ role: 'user', content: fixtures.text(words) }], maxTokens });
const WORD = { type: 'string' };
const askName = message => ask(message, { name: WORD });

// --- tasks ---------------------------------------------------------------

const tasks = new Map();

function makeTask(state) {
    const now = new Date().toISOString();
    const task = { taskId: randomUUID(), createdAt: now, lastUpdatedAt: now, ttlMs: 600_000, pollIntervalMs: 100, ...state };
    tasks.set(task.taskId, task);
    return task;
}

function settle(task, state) {
    if (task.status !== 'working' && task.status !== 'input_required') return;
    delete task.inputRequests;
    Object.assign(task, state, { lastUpdatedAt: new Date().toISOString() });
}

// Starts a task that ends by itself after some time.
function work(ms, state) {
    const task = makeTask({ status: 'working' });
    setTimeout(() => settle(task, state), ms).unref();
    return created(task);
}

// Starts a task that waits for answers of the client.
const wait = inputRequests => created(makeTask({ status: 'input_required', inputRequests }));

function created({ taskId, status, createdAt, lastUpdatedAt, ttlMs, pollIntervalMs }) {
    return { resultType: 'task', taskId, status, createdAt, lastUpdatedAt, ttlMs, pollIntervalMs };
}

const done = words => ({ status: 'completed', result: { resultType: 'complete', ...says(words) } });

function taskOf({ taskId }, ctx) {
    if (!hasTasks(ctx)) throw needTasks();
    const task = tasks.get(taskId);
    if (!task) throw new ProtocolError(INVALID_PARAMS, `Task not found: ${taskId}`);
    return task;
}

const taskMethods = {
    'tasks/get': (params, ctx) => ({ ...taskOf(params, ctx) }),
    'tasks/cancel': (params, ctx) => {
        settle(taskOf(params, ctx), { status: 'cancelled' });
        return {};
    },
    'tasks/update': (params, ctx) => {
        const task = taskOf(params, ctx);
        const answers = ctx.mcpReq.inputResponses ?? params.inputResponses ?? {};
        if (task.status === 'input_required') {
            for (const key of Object.keys(answers)) delete task.inputRequests[key];
            if (Object.keys(task.inputRequests).length === 0) settle(task, done('All questions were answered.'));
        }
        return {};
    },
};

// --- tools ---------------------------------------------------------------

let notify;

const round = async (step, inputRequests) => inputRequired({ inputRequests, requestState: await seal.mint({ step }) });
const answer = (ctx, key) => ctx.mcpReq.inputResponses?.[key];

const tools = {
    ...fixtures.tools,
    test_tool_with_progress: {
        description: 'Reports progress three times',
        inputSchema: NOTHING,
        run: async (_args, ctx) => {
            const progressToken = ctx.mcpReq._meta?.progressToken;
            for (const progress of [0, 50, 100]) {
                if (progressToken !== undefined) {
                    await ctx.mcpReq.notify({
                        method: 'notifications/progress',
                        params: { progressToken, progress, total: 100 },
                    });
                }
                await pause(50);
            }
            return says('Done.');
        },
    },
    test_logging_tool: {
        description: 'Logs to those who want it',
        inputSchema: NOTHING,
        run: async (_args, ctx) => {
            await ctx.mcpReq.log('info', 'a line of log');
            return says('Logged.');
        },
    },
    test_missing_capability: {
        description: 'Works only for clients that can sample',
        inputSchema: NOTHING,
        run: (_args, ctx) => {
            if (!declared(ctx).sampling) throw need({ sampling: {} });
            return says('The client can sample.');
        },
    },
    test_streaming_elicitation: {
        description: 'Asks the user something',
        inputSchema: NOTHING,
        run: (_args, ctx) =>
            answer(ctx, 'word') ? says('Thank you.') : inputRequired({ inputRequests: { word: ask('Say a word', { word: WORD }) } }),
    },
    test_trigger_tool_change: {
        description: 'Announces that the list of tools changed',
        inputSchema: NOTHING,
        run: () => {
            notify.toolsChanged();
            return says('Announced.');
        },
    },
    test_trigger_prompt_change: {
        description: 'Announces that the list of prompts changed',
        inputSchema: NOTHING,
        run: () => {
            notify.promptsChanged();
            return says('Announced.');
        },
    },
    test_custom_header: {
        description: 'Takes an argument that is repeated in a header',
        inputSchema: object({ region: { type: 'string', 'x-mcp-header': 'Region' } }),
        run: ({ region }) => says(`Region ${region}`),
    },
    test_input_required_result_elicitation: {
        description: 'Asks for a name and greets',
        inputSchema: NOTHING,
        run: (_args, ctx) => {
            const content = acceptedContent(ctx.mcpReq.inputResponses, 'user_name');
            if (typeof content?.name !== 'string') return inputRequired({ inputRequests: { user_name: askName('What is your name?') } });
            return says(`Hello, ${content.name}!`);
        },
    },
    test_input_required_result_sampling: {
        description: 'Asks the model of the client',
        inputSchema: NOTHING,
        run: (_args, ctx) => {
            const key = 'capital_question';
            const reply = answer(ctx, key);
            if (!reply) return inputRequired({ inputRequests: { [key]: sample('What is the capital of France?', 100) } });
            return says(`The model said: ${reply.content?.text}`);
        },
    },
    test_input_required_result_list_roots: {
        description: 'Asks for the roots of the client',
        inputSchema: NOTHING,
        run: (_args, ctx) => {
            const reply = answer(ctx, 'client_roots');
            if (!reply) return inputRequired({ inputRequests: { client_roots: inputRequired.listRoots() } });
            return says(`Roots: ${(reply.roots ?? []).map(root => root.uri).join(', ')}`);
        },
    },
    test_input_required_result_request_state: {
        description: 'Asks for a confirmation and checks its state',
        inputSchema: NOTHING,
        run: (_args, ctx) => {
            if (answer(ctx, 'confirm') && ctx.mcpReq.requestState()?.step === 'confirm') return says('state-ok');
            return round('confirm', { confirm: ask('Go on?', { ok: { type: 'boolean' } }) });
        },
    },
    test_input_required_result_tampered_state: {
        description: 'Asks for a confirmation and refuses a changed state',
        inputSchema: NOTHING,
        run: (_args, ctx) => {
            if (answer(ctx, 'confirm') && ctx.mcpReq.requestState()?.step === 'sealed') return says('The state is whole.');
            return round('sealed', { confirm: ask('Go on?', { ok: { type: 'boolean' } }) });
        },
    },
    test_input_required_result_multiple_inputs: {
        description: 'Asks three things at once',
        inputSchema: NOTHING,
        run: (_args, ctx) => {
            const keys = ['user_name', 'greeting', 'client_roots'];
            if (ctx.mcpReq.requestState()?.step === 'all' && keys.every(key => answer(ctx, key))) return says('All three came.');
            return round('all', {
                user_name: askName('What is your name?'),
                greeting: sample('Write a greeting', 50),
                client_roots: inputRequired.listRoots(),
            });
        },
    },
    test_input_required_result_multi_round: {
        description: 'Asks twice, one after the other',
        inputSchema: NOTHING,
        run: (_args, ctx) => {
            const step = ctx.mcpReq.requestState()?.step;
            if (step === 'second' && answer(ctx, 'step2')) return says('Both answers came.');
            if (step === 'first' && answer(ctx, 'step1')) {
                return round('second', { step2: ask('Step 2: which color do you like?', { color: WORD }) });
            }
            return round('first', { step1: askName('Step 1: what is your name?') });
        },
    },
    test_input_required_result_capabilities: {
        description: 'Asks only what the client can answer',
        inputSchema: NOTHING,
        run: (_args, ctx) => {
            const can = declared(ctx);
            const inputRequests = {};
            if (can.sampling) inputRequests.joke = sample('Tell a joke', 50);
            if (can.elicitation) inputRequests.user_name = askName('What is your name?');
            const asked = Object.keys(inputRequests);
            if (asked.length === 0 || asked.every(key => answer(ctx, key))) return says('Nothing left to ask.');
            return inputRequired({ inputRequests });
        },
    },
    greet: {
        description: 'Greets at once',
        inputSchema: object({ name: WORD }),
        run: ({ name }) => says(`Hello, ${name}!`),
    },
    slow_compute: {
        description: 'Takes as many seconds as asked, as a task where the client knows tasks',
        inputSchema: object({ seconds: { type: 'number' }, label: WORD }, ['seconds']),
        run: async ({ seconds, label }, ctx) => {
            const words = `Computed ${label ?? ''} for ${seconds} s.`;
            if (hasTasks(ctx)) return work(seconds * 1000, done(words));
            await pause(seconds * 1000);
            return says(words);
        },
    },
    failing_job: {
        description: 'A task whose tool fails',
        inputSchema: NOTHING,
        tasksOnly: true,
        run: () => work(1000, { status: 'completed', result: { resultType: 'complete', ...says('The job failed.'), isError: true } }),
    },
    protocol_error_job: {
        description: 'A task that ends in a protocol error',
        inputSchema: NOTHING,
        tasksOnly: true,
        run: () => work(200, { status: 'failed', error: { code: -32603, message: 'The job broke.' } }),
    },
    confirm_delete: {
        description: 'A task that asks before it deletes',
        inputSchema: object({ filename: WORD }),
        tasksOnly: true,
        run: ({ filename }) => wait({ confirm: ask(`Delete ${filename}?`, { confirm: { type: 'boolean' } }) }),
    },
    multi_input: {
        description: 'A task that asks two things at once',
        inputSchema: NOTHING,
        tasksOnly: true,
        run: () => wait({ first: askName('First name?'), second: askName('Second name?') }),
    },
    test_tool_with_task: {
        description: 'Asks for a name, then becomes a task',
        inputSchema: NOTHING,
        tasksOnly: true,
        run: (_args, ctx) => {
            const content = acceptedContent(ctx.mcpReq.inputResponses, 'user_name');
            if (ctx.mcpReq.requestState()?.step === 'named' && content) return work(200, done(`Hello, ${content.name}!`));
            return round('named', { user_name: askName('What is your name?') });
        },
    },
};

const prompts = {
    ...fixtures.prompts,
    test_input_required_result_prompt: {
        description: 'A prompt that asks for its context',
        run: (_args, ctx) => {
            const content = acceptedContent(ctx.mcpReq.inputResponses, 'user_context');
            if (!content) return inputRequired({ inputRequests: { user_context: ask('Which context?', { context: WORD }) } });
            return { messages: [{ role: 'user', content: fixtures.text(`Context: ${content.context}`) }] };
        },
    },
};

// --- the server ----------------------------------------------------------

// Schemas are compiled once; a server is built for every request.
for (const tool of Object.values(tools)) tool.schema = fromJsonSchema(tool.inputSchema);
for (const prompt of Object.values(prompts)) {
    if (!prompt.arguments) continue;
    const fields = prompt.arguments.map(({ name, description }) => [name, { type: 'string', description }]);
    prompt.schema = fromJsonSchema(object(Object.fromEntries(fields)));
}
const ANYTHING = fromJsonSchema({ type: 'object' });

const skills = await SkillsExtension.load(
    memorySkillFiles({
        'knots/SKILL.md': '---\nname: knots\ndescription: Ties three useful knots\n---\n\nStart with references/bowline.md.\n',
        'knots/references/bowline.md': 'Make a loop, go through it, around and back.\n',
    }),
);

function build() {
    const mcp = new McpServer(
        { name: 'conformance-modern', version: '1.0.0' },
        {
            capabilities: {
                tools: { listChanged: true },
                prompts: { listChanged: true },
                resources: { listChanged: true, subscribe: true },
                logging: {},
                completions: {},
                extensions: { [TASKS]: {} },
            },
            requestState: { verify: seal.verify },
        },
    );
    for (const [name, { description, schema }] of Object.entries(tools)) {
        mcp.registerTool(name, { description, inputSchema: schema }, () => says(''));
    }
    // The handler of the SDK turns every error of a tool into a result and
    // knows no tasks, so the calls are taken here.
    mcp.server.setRequestHandler('tools/call', (request, ctx) => {
        const { name, arguments: args } = request.params;
        const tool = Object.hasOwn(tools, name) && tools[name];
        if (!tool) throw new ProtocolError(INVALID_PARAMS, `no tool ${name}`);
        if (tool.tasksOnly && !hasTasks(ctx)) throw needTasks();
        return tool.run(args ?? {}, ctx);
    });
    for (const [method, run] of Object.entries(taskMethods)) {
        mcp.server.setRequestHandler(method, { params: ANYTHING }, run);
    }
    for (const { uri, name, ...about } of fixtures.resources) {
        mcp.registerResource(name, uri, about, () => fixtures.read(uri));
    }
    for (const { uriTemplate, name, ...about } of fixtures.templates) {
        mcp.registerResource(name, new ResourceTemplate(uriTemplate, { list: undefined }), about, uri => fixtures.read(uri.href));
    }
    for (const [name, { description, schema, run }] of Object.entries(prompts)) {
        if (schema) mcp.registerPrompt(name, { description, argsSchema: schema }, run);
        else mcp.registerPrompt(name, { description }, ctx => run({}, ctx));
    }
    mcp.server.setRequestHandler('completion/complete', request => fixtures.complete(request.params));
    skills.attach(mcp);
    return mcp;
}

// With `sse` behind the port, every answer is an event stream.
const handler = createMcpHandler(build, { legacy: 'reject', responseMode: process.argv[3] === 'sse' ? 'sse' : 'auto' });
notify = handler.notify;
const serve = toNodeHandler(handler);

fixtures.listen(
    createServer((req, res) => {
        if (!fixtures.local(req.headers)) return fixtures.refuse(res, 403, -32000, 'Host or Origin is not local');
        if (new URL(req.url, 'http://local').pathname !== '/mcp') return fixtures.refuse(res, 404, -32000, 'no such path');
        return serve(req, res);
    }),
);
