// MCP client on @modelcontextprotocol/sdk 1.32.2, for the real-SDK tests.
// Usage: client1.mjs URL [--transport http|sse] [--era legacy] [--only a,b]
// Runs the scenarios of scenarios.mjs on one session, one JSON line each.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import {
    CreateMessageRequestSchema, ElicitRequestSchema, LoggingMessageNotificationSchema,
    ResourceUpdatedNotificationSchema
} from '@modelcontextprotocol/sdk/types.js';
import { main, modelAnswer, userAnswer, Wire } from './scenarios.mjs';

class Adapter extends Wire {
    era = 'legacy';

    async connect() {
        this.client = new Client(
            { name: 'tide-client1', version: '1.0.0' },
            { capabilities: { sampling: {}, elicitation: {} } }
        );
        this.client.setRequestHandler(CreateMessageRequestSchema, request => modelAnswer(request.params));
        this.client.setRequestHandler(ElicitRequestSchema, request => userAnswer(request.params));
        this.client.setNotificationHandler(LoggingMessageNotificationSchema, note => this.noteLog(note.params.data));
        this.client.setNotificationHandler(ResourceUpdatedNotificationSchema, note =>
            this.noteUpdate(note.params.uri)
        );
        const options = { fetch: this.fetch };
        this.transport =
            this.wire === 'sse'
                ? new SSEClientTransport(this.url, options)
                : new StreamableHTTPClientTransport(this.url, options);
        await this.client.connect(this.transport);
        this.protocol = this.transport.protocolVersion ?? this.transport._protocolVersion;
        this.serverName = this.client.getServerVersion().name;
    }

    listTools = async () => (await this.client.listTools()).tools.map(tool => tool.name);
    call = (name, args, options) => this.client.callTool({ name, arguments: args }, undefined, options);
    setLevel = level => this.client.setLoggingLevel(level);
    listPrompts = async () => (await this.client.listPrompts()).prompts.map(prompt => prompt.name);
    getPrompt = (name, args) => this.client.getPrompt({ name, arguments: args });
    readResource = async uri => (await this.client.readResource({ uri })).contents;
    deleteSession = () => this.transport.terminateSession();
    close = () => this.client.close();

    async subscribe(uri) {
        await this.client.subscribeResource({ uri });
        return () => this.client.unsubscribeResource({ uri });
    }
}

await main(Adapter, ['legacy']);
