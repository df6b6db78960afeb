// Faults on demand, for the tests of what a router makes of them; off unless FAULTS=1.
// A request names its fault in the header `x-fault`: `500` is answered with that status, `cut`
// loses its connection after 0.4 s, and the answer of `end` ends after that time as if it were
// complete. The tools are registered by each server, with its own SDK's errors.
// A file, named by SICK_FILE, says what else the server suffers from at the moment: in the tool
// `work` it is `error`, `slow`, `hang` or `crash`, in completions `rpc`, and everywhere `500`;
// `missing` is the tool of new sessions.
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

export const FAULTS = process.env.FAULTS === '1';
export const JSON_ANSWERS = process.env.JSON === '1';

/** Longer than what a router takes for the race of a request with a closing connection. */
const SOON_MS = 400;

/** Puts the faults in front of a server's own handler. */
export function faulty(httpServer) {
    const [handler] = httpServer.listeners('request');
    httpServer.removeAllListeners('request');
    httpServer.on('request', (req, res) => {
        const fault = req.headers['x-fault'];
        if (fault === '500' || sick() === '500') return res.writeHead(500).end('Internal Server Error');
        if (fault === 'cut') setTimeout(() => req.socket.resetAndDestroy(), SOON_MS);
        if (fault === 'end') setTimeout(() => res.end(), SOON_MS);
        handler(req, res);
    });
}

/** Says something, so that the answer is under way, and then no more. */
export async function hang(say) {
    await say();
    await new Promise(() => {});
}

/** The same, and then ends the process as nobody can handle. */
export async function crash(say) {
    await say();
    await delay(SOON_MS);
    process.kill(process.pid, 'SIGKILL');
}

/** What the file says. */
export const sick = () => (process.env.SICK_FILE ? readFileSync(process.env.SICK_FILE, 'utf8') : '');

/** Works, if the file does not say otherwise. */
export async function work() {
    const fault = sick();
    if (fault === 'error') throw new Error('sick');
    if (fault === 'slow') await delay(SOON_MS);
    if (fault === 'hang') await new Promise(() => {});
    if (fault === 'crash') process.kill(process.pid, 'SIGKILL');
    return 'done';
}
