// MCP Inspector 2.12.0 in its command line mode as a client, for the real-SDK tests.
// Usage: inspector.mjs URL [--transport http|sse] [--era legacy|auto|modern] [--only a,b]
// Every step is a process and a session of its own. Prints one JSON line a scenario.
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';

const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
        transport: { type: 'string', default: 'http' },
        era: { type: 'string', default: 'legacy' },
        only: { type: 'string' }
    }
});
const flavours = JSON.parse(readFileSync(new URL('./scenarios.json', import.meta.url), 'utf8'));
const program = fileURLToPath(new URL('./node_modules/.bin/mcp-inspector', import.meta.url));
const home = mkdtempSync(join(tmpdir(), 'inspector-'));
const run = promisify(execFile);

/** One call of the inspector; its JSON answer. It exits with an error where the tool reports one. */
async function inspect(method, ...more) {
    const words = [
        program, '--cli', positionals[0], '--transport', values.transport, '--protocol-era', values.era,
        '--method', method, ...more
    ];
    const env = { ...process.env, HOME: home, MCP_CATALOG_PATH: join(home, 'mcp.json') };
    const done = await run(process.execPath, words, { env, timeout: 20_000 }).catch(error => error);
    try {
        return JSON.parse(done.stdout);
    } catch {
        throw new Error(`no JSON from the inspector: ${String(done.stderr).slice(-200)}`);
    }
}

function expect(condition, complaint) {
    if (!condition) throw new Error(complaint);
}

const pairsOf = args => Object.entries(args).map(([name, value]) => `${name}=${value}`);
const callTool = ({ tool, args }) =>
    inspect('tools/call', '--tool-name', tool, ...(Object.keys(args).length ? ['--tool-arg', ...pairsOf(args)] : []));

let flavour;
const scenarios = {
    async tools() {
        const names = (await inspect('tools/list')).tools.map(tool => tool.name);
        flavour = flavours[names.includes('get-sum') ? 'everything' : 'common'];
        const echo = await callTool(flavour.echo);
        expect(echo.content[0].text === flavour.echo.text, 'echo came back changed');
        if (flavour !== flavours.common) return `${names.length} tools, echo ok`;
        expect((await callTool(flavour.failing)).isError, 'the failing call was no tool error');
        return `${names.length} tools, echo ok, failing call is a tool error`;
    },
    async prompts() {
        const { prompt, args, contains } = flavour.prompts;
        const got = await inspect('prompts/get', '--prompt-name', prompt, '--prompt-args', ...pairsOf(args));
        expect(got.messages[0].content.text.includes(contains), 'unexpected prompt text');
        return 'rendered';
    },
    async resources() {
        const got = await inspect('resources/read', '--uri', flavour.subscribe.uri);
        expect(got.contents.length, 'the resource could not be read');
        return 'read';
    }
};

let good = true;
const wanted = values.only?.split(',');
for (const [scenario, work] of Object.entries(scenarios)) {
    // The first one also finds out what kind of server this is.
    if (wanted && !wanted.includes(scenario) && scenario !== 'tools') continue;
    const line = await work().then(
        detail => ({ scenario, ok: true, detail }),
        error => ({ scenario, ok: false, detail: error.message })
    );
    good &&= line.ok;
    console.log(JSON.stringify(line));
    if (!line.ok) break;
}
rmSync(home, { recursive: true, force: true });
console.log(JSON.stringify({ done: true }));
process.exit(good ? 0 : 1);
