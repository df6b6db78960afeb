// What the conformance suite expects any server to offer, whatever the
// protocol revision: tools, resources and prompts as plain data and small
// functions. No SDK is imported here, so both servers can share the file.

import { crc32, deflateSync } from 'node:zlib';

export const pause = ms => new Promise(done => setTimeout(done, ms));
export const text = value => ({ type: 'text', text: value });
export const says = value => ({ content: [text(value)] });

const NOTHING = { type: 'object', properties: {} };

export const object = (properties, required = Object.keys(properties)) =>
    ({ type: 'object', properties, required });

// One red pixel.
function png() {
    const chunk = (name, data) => {
        const tagged = Buffer.concat([Buffer.from(name, 'latin1'), data]);
        const out = Buffer.alloc(tagged.length + 8);
        out.writeUInt32BE(data.length, 0);
        tagged.copy(out, 4);
        out.writeUInt32BE(crc32(tagged), tagged.length + 4);
        return out;
    };
    const header = Buffer.from([0, 0, 0, 1, 0, 0, 0, 1, 8, 2, 0, 0, 0]);
    return Buffer.concat([
        Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
        chunk('IHDR', header),
        chunk('IDAT', deflateSync(Buffer.from([0, 255, 0, 0]))),
        chunk('IEND', Buffer.alloc(0)),
    ]).toString('base64');
}

// Eight silent samples, mono, 8 kHz, 8 bit.
function wav() {
    const samples = Buffer.alloc(8, 128);
    const head = Buffer.alloc(44);
    head.write('RIFF', 0);
    head.writeUInt32LE(36 + samples.length, 4);
    head.write('WAVEfmt ', 8);
    head.writeUInt32LE(16, 16);
    head.writeUInt16LE(1, 20);
    head.writeUInt16LE(1, 22);
    head.writeUInt32LE(8000, 24);
    head.writeUInt32LE(8000, 28);
    head.writeUInt16LE(1, 32);
    head.writeUInt16LE(8, 34);
    head.write('data', 36);
    head.writeUInt32LE(samples.length, 40);
    return Buffer.concat([head, samples]).toString('base64');
}

const image = { type: 'image', data: png(), mimeType: 'image/png' };
const resource = (uri, mimeType, body) => ({ type: 'resource', resource: { uri, mimeType, text: body } });

// Tools that need nothing but their arguments. The first one is called by the
// suite with no arguments at all, so it has to stay first.
export const tools = {
    test_simple_text: {
        description: 'Answers with one line of text',
        inputSchema: NOTHING,
        run: () => says('A plain line of text.'),
    },
    test_image_content: {
        description: 'Answers with a picture',
        inputSchema: NOTHING,
        run: () => ({ content: [image] }),
    },
    test_audio_content: {
        description: 'Answers with a sound',
        inputSchema: NOTHING,
        run: () => ({ content: [{ type: 'audio', data: wav(), mimeType: 'audio/wav' }] }),
    },
    test_embedded_resource: {
        description: 'Answers with a resource inside the result',
        inputSchema: NOTHING,
        run: () => ({ content: [resource('test://embedded-resource', 'text/plain', 'Text of the embedded resource.')] }),
    },
    test_multiple_content_types: {
        description: 'Answers with text, a picture and a resource',
        inputSchema: NOTHING,
        run: () => ({
            content: [
                text('Three kinds of content:'),
                image,
                resource('test://mixed-content-resource', 'application/json', JSON.stringify({ test: 'data', value: 123 })),
            ],
        }),
    },
    test_error_handling: {
        description: 'Always fails',
        inputSchema: NOTHING,
        run: () => ({ ...says('This tool fails on purpose.'), isError: true }),
    },
    json_schema_2020_12_tool: {
        description: 'Has an input schema with many 2020-12 keywords',
        inputSchema: {
            $schema: 'https://json-schema.org/draft/2020-12/schema',
            type: 'object',
            $defs: {
                address: {
                    $anchor: 'addressDef',
                    type: 'object',
                    properties: { street: { type: 'string' }, city: { type: 'string' } },
                },
            },
            properties: {
                name: { type: 'string' },
                address: { $ref: '#/$defs/address' },
                contactMethod: { type: 'string', enum: ['phone', 'email'] },
                phone: { type: 'string' },
                email: { type: 'string' },
            },
            allOf: [{ anyOf: [{ required: ['phone'] }, { required: ['email'] }] }],
            if: { properties: { contactMethod: { const: 'phone' } }, required: ['contactMethod'] },
            then: { required: ['phone'] },
            else: { required: ['email'] },
            additionalProperties: false,
        },
        run: args => says(JSON.stringify(args)),
    },
};

export const resources = [
    { uri: 'test://static-text', name: 'static-text', description: 'A text that never changes', mimeType: 'text/plain' },
    { uri: 'test://static-binary', name: 'static-binary', description: 'A picture that never changes', mimeType: 'image/png' },
    { uri: 'test://watched-resource', name: 'watched-resource', description: 'One to subscribe to', mimeType: 'text/plain' },
];

export const templates = [
    { uriTemplate: 'test://template/{id}/data', name: 'by-id', description: 'Data by id', mimeType: 'application/json' },
];

// The contents of a resource, or undefined when there is none.
export function read(uri) {
    const body = (mimeType, rest) => ({ contents: [{ uri, mimeType, ...rest }] });
    if (uri === 'test://static-text') return body('text/plain', { text: 'The static text.' });
    if (uri === 'test://static-binary') return body('image/png', { blob: image.data });
    if (uri === 'test://watched-resource') return body('text/plain', { text: 'The watched text.' });
    const id = /^test:\/\/template\/([^/]+)\/data$/.exec(uri)?.[1];
    return id && body('application/json', { text: JSON.stringify({ id, templateTest: true, data: `Data of ${id}` }) });
}

const user = content => ({ role: 'user', content });

export const prompts = {
    test_simple_prompt: {
        description: 'A prompt of one message',
        run: () => ({ messages: [user(text('Say something simple.'))] }),
    },
    test_prompt_with_arguments: {
        description: 'A prompt that repeats its arguments',
        arguments: [
            { name: 'arg1', description: 'First', required: true },
            { name: 'arg2', description: 'Second', required: true },
        ],
        run: ({ arg1, arg2 }) => ({ messages: [user(text(`First is '${arg1}', second is '${arg2}'.`))] }),
    },
    test_prompt_with_embedded_resource: {
        description: 'A prompt that carries a resource',
        arguments: [{ name: 'resourceUri', description: 'Its address', required: true }],
        run: ({ resourceUri }) => ({
            messages: [
                user(resource(resourceUri, 'text/plain', 'Text of the resource.')),
                user(text('Look at the resource above.')),
            ],
        }),
    },
    test_prompt_with_image: {
        description: 'A prompt that carries a picture',
        run: () => ({ messages: [user(image), user(text('Look at the picture above.'))] }),
    },
};

export const complete = ({ argument }) => {
    const values = ['paris', 'park', 'party', 'test'].filter(word => word.startsWith(argument.value));
    return { completion: { values, total: values.length, hasMore: false } };
};

export const listOf = table => Object.entries(table).map(([name, { run, ...rest }]) => ({ name, ...rest }));

// Whether the Host and Origin of a request name this machine, on any port: a
// router in front listens on another port and keeps the Host it was sent.
export function local(headers) {
    const names = ['localhost', '127.0.0.1', '[::1]'];
    const known = url => {
        try {
            return names.includes(new URL(url).hostname);
        } catch {
            return false;
        }
    };
    return known(`http://${headers.host}`) && (headers.origin === undefined || known(headers.origin));
}

export function refuse(res, status, code, message) {
    res.writeHead(status, { 'content-type': 'application/json' });
    res.end(JSON.stringify({ jsonrpc: '2.0', error: { code, message }, id: null }));
}

// Listens where the command line says and tells which port it became.
export function listen(server) {
    const port = Number(process.argv[2]);
    if (!/^\d+$/.test(process.argv[2] ?? '') || port > 65535) {
        console.error('usage: server PORT (0 for a free one)');
        process.exit(2);
    }
    server.listen(port, '127.0.0.1', () => console.log(`listening ${server.address().port}`));
    for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(0));
}
