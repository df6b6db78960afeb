// Parts that both TypeScript MCP servers use: counters, an event store for one
// session, and listening with one ready line.
import { setTimeout as delay } from 'node:timers/promises';
import { FAULTS, faulty } from './faults.mjs';

export const VERSION = process.env.SERVER_VERSION ?? '0.0.0';
export const STATELESS = process.env.STATELESS === '1';
export const SSE = process.env.TRANSPORT === 'sse';
export const THING = 'test://thing';
export const RETRY_MS = 200;

export const text = value => ({ content: [{ type: 'text', text: value }] });

/** Open sessions by id: transports of the server that keeps them. */
export const sessions = new Map();

/** Counters of this process, told by the tool `stats`. */
export const counters = { calls: 0, cancelled: [] };

export const stats = () =>
    text(
        JSON.stringify({
            sessions: sessions.size,
            calls: counters.calls,
            cancelled: counters.cancelled.length,
            labels: counters.cancelled.slice(-50)
        })
    );

/** `steps` pauses with a progress notification after each; a cancelled one is noted under its label. */
export async function count({ steps, delay_ms, label }, signal, progressToken, notify) {
    try {
        for (let step = 1; step <= steps; step++) {
            await delay(delay_ms, undefined, { signal });
            await notifyProgress(progressToken, notify, step, steps);
        }
    } catch (error) {
        if (!signal.aborted) throw error;
        counters.cancelled.push(label ?? '');
        throw error;
    }
    return text(`counted ${steps}`);
}

export async function notifyProgress(progressToken, notify, progress, total) {
    if (progressToken === undefined) return;
    await notify({ method: 'notifications/progress', params: { progressToken, progress, total } });
}

/** Events of one session, oldest first. */
export class EventStore {
    events = [];

    async storeEvent(streamId, message) {
        const id = `${streamId}_${this.events.length + 1}`;
        this.events.push({ id, streamId, message });
        return id;
    }

    async getStreamIdForEventId(eventId) {
        return this.events.find(event => event.id === eventId)?.streamId;
    }

    async replayEventsAfter(lastEventId, { send }) {
        const start = this.events.findIndex(event => event.id === lastEventId);
        const streamId = this.events[start]?.streamId;
        for (const event of start < 0 ? [] : this.events.slice(start + 1)) {
            // The event that opens a stream carries no message.
            if (event.streamId === streamId && event.message?.jsonrpc) await send(event.id, event.message);
        }
        return streamId ?? '';
    }
}

/** Serves on 127.0.0.1 at the port of the first argument (0: any free one) and says so. */
export function serve(httpServer) {
    process.on('SIGTERM', () => process.exit(0));
    if (FAULTS) faulty(httpServer);
    httpServer.listen(Number(process.argv[2]), '127.0.0.1', () => {
        console.log(`listening ${httpServer.address().port}`);
    });
}
