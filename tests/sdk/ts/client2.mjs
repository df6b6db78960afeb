// MCP client on @modelcontextprotocol/client 2.4.0, for the real-SDK tests.
// Usage: client2.mjs URL [--transport http|sse] [--era legacy|auto|modern] [--only a,b]
// Runs the scenarios of scenarios.mjs on one connection, one JSON line each. `auto`
// asks server/discover and falls back to sessions, `modern` is pinned to 2026-07-28.
import {
    Client, LOG_LEVEL_META_KEY, SSEClientTransport, StreamableHTTPClientTransport
} from '@modelcontextprotocol/client';
import { main, modelAnswer, userAnswer, Wire } from './scenarios.mjs';

const MODES = { legacy: 'legacy', auto: 'auto', modern: { pin: '2026-07-28' } };

class Adapter extends Wire {
    async connect() {
        this.client = new Client(
            { name: 'tide-client2', version: '1.0.0' },
            {
                capabilities: { sampling: {}, elicitation: {} },
                versionNegotiation: { mode: MODES[this.wantedEra] }
            }
        );
        this.client.setRequestHandler('sampling/createMessage', request => modelAnswer(request.params));
        this.client.setRequestHandler('elicitation/create', request => userAnswer(request.params));
        this.client.setNotificationHandler('notifications/message', note => this.noteLog(note.params.data));
        this.client.setNotificationHandler('notifications/resources/updated', note =>
            this.noteUpdate(note.params.uri)
        );
        const options = { fetch: this.fetch };
        this.transport =
            this.wire === 'sse'
                ? new SSEClientTransport(this.url, options)
                : new StreamableHTTPClientTransport(this.url, options);
        await this.client.connect(this.transport);
        this.era = this.client.getProtocolEra();
        this.protocol = this.client.getNegotiatedProtocolVersion();
        this.serverName = this.client.getServerVersion()?.name ?? 'unknown';
    }

    /** In the modern era every request says by itself which log messages it wants. */
    meta = () => (this.level && this.era === 'modern' ? { _meta: { [LOG_LEVEL_META_KEY]: this.level } } : {});

    listTools = async () => (await this.client.listTools()).tools.map(tool => tool.name);
    call = (name, args, options) => this.client.callTool({ name, arguments: args, ...this.meta() }, options);
    listPrompts = async () => (await this.client.listPrompts()).prompts.map(prompt => prompt.name);
    getPrompt = (name, args) => this.client.getPrompt({ name, arguments: args });
    readResource = async uri => (await this.client.readResource({ uri })).contents;
    discover = async () => (await this.client.discover()).supportedVersions;
    deleteSession = () => this.transport.terminateSession();
    close = () => this.client.close();

    async setLevel(level) {
        this.level = level;
        if (this.era === 'legacy') await this.client.setLoggingLevel(level);
    }

    async subscribe(uri) {
        if (this.era === 'modern') {
            const subscription = await this.client.listen({ resourceSubscriptions: [uri] });
            return () => subscription.close();
        }
        await this.client.subscribeResource({ uri });
        return () => this.client.unsubscribeResource({ uri });
    }
}

await main(Adapter, ['legacy', 'auto', 'modern']);
