// Follows a server's event stream over fetch: resumes from the last id, backs off, and detects a silent connection.
import { ApiError, send } from './client.ts';
import { pause, pauseMs } from './pauses.ts';
import { type ServerEvent, SseParser } from './sse-parser.ts';

export type StreamState = 'connecting' | 'live' | 'waiting' | 'ended' | 'failed';

export interface EventStreamOptions {
  url: string;
  /** Id of the event to resume after; '' to begin where the URL says. */
  lastEventId: string;
  /** Awaited before the next event is read, so that a slow reader slows down its source. */
  onEvent(event: ServerEvent, lastEventId: string): void | Promise<void>;
  onState(state: StreamState, error?: ApiError): void;
  signal: AbortSignal;
}

/** Three heartbeats: the server sends one every 15 s. */
const silenceMs = 45_000;

/** Follows the stream until its `end` event, a refusal, or the signal. Never rejects: it reports by `onState`. */
export async function followEvents(options: EventStreamOptions): Promise<void> {
  const { signal } = options;
  let lastEventId = options.lastEventId;
  let failures = 0;
  while (!signal.aborted) {
    options.onState(failures === 0 ? 'connecting' : 'waiting');
    const parser = new SseParser(lastEventId);
    try {
      const ended = await readOnce(options, parser, () => {
        failures = 0;
      });
      if (ended) {
        options.onState('ended');
        return;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof ApiError && isRefusal(error)) {
        options.onState('failed', error);
        return;
      }
    }
    lastEventId = parser.lastEventId;
    const waitMs = pauseMs(failures, parser.retryMs);
    failures += 1;
    options.onState('waiting');
    await pause(waitMs, signal);
  }
}

/** Returns whether a retry would get the same answer. */
function isRefusal(error: ApiError): boolean {
  return ['invalid', 'unauthenticated', 'forbidden', 'not_found'].includes(error.code);
}

async function readOnce(
  options: EventStreamOptions,
  parser: SseParser,
  onLive: () => void,
): Promise<boolean> {
  const connection = new AbortController();
  const stop = () => connection.abort();
  options.signal.addEventListener('abort', stop, { once: true });
  let silence = setTimeout(stop, silenceMs);
  try {
    const headers: Record<string, string> = { accept: 'text/event-stream' };
    if (parser.lastEventId !== '') headers['last-event-id'] = parser.lastEventId;
    const response = await send('GET', options.url, { headers, signal: connection.signal });
    if (response.body === null) return false;
    options.onState('live');
    onLive();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return false;
      clearTimeout(silence);
      silence = setTimeout(stop, silenceMs);
      for (const event of parser.feed(value)) {
        if (event.event === 'end') return true;
        await options.onEvent(event, parser.lastEventId);
      }
    }
  } finally {
    clearTimeout(silence);
    options.signal.removeEventListener('abort', stop);
    connection.abort();
  }
}
