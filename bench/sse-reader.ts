// A reader of a run's live stream, as a browser is one: events are parsed and chunks inflated.
import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { gunzipSync } from 'node:zlib';
import type { ChunkEvent, RunChange } from '@opsconductor/protocol';
import { isOk, send } from './http-client.ts';

export interface ReadRun {
  status: string;
  bytes: number;
  sha256: string;
  /** performance.now() of the first output byte. */
  firstByteMs: number;
  endedMs: number;
}

/** Reads the stream of a run until it ends. */
export async function readRun(url: string, token: string): Promise<ReadRun> {
  return readStream(url, await send('GET', url, token));
}

/** Starts a run by a request that is answered with its stream, and reads that until it ends. */
export async function startAndRead(url: string, token: string, body: unknown): Promise<ReadRun> {
  return readStream(url, await send('POST', url, token, body, 'text/event-stream'));
}

async function readStream(url: string, reply: IncomingMessage): Promise<ReadRun> {
  if (!isOk(reply)) throw new Error(`${url}: ${reply.statusCode}`);
  const hash = createHash('sha256');
  const result: ReadRun = { status: '', bytes: 0, sha256: '', firstByteMs: Number.NaN, endedMs: Number.NaN };
  for await (const event of events(reply)) {
    if (event.type === 'chunk') {
      if (result.bytes === 0) result.firstByteMs = performance.now();
      const chunk = JSON.parse(event.data) as ChunkEvent;
      const raw = gunzipSync(Buffer.from(chunk.data, 'base64'), { chunkSize: Math.max(64, chunk.rawLength) });
      hash.update(raw);
      result.bytes += raw.length;
    } else if (event.type === 'change') {
      const change = JSON.parse(event.data) as RunChange;
      result.status = change.run?.status ?? result.status;
    }
    // Read on after the end, so that the connection serves the next reader.
  }
  result.sha256 = hash.digest('hex');
  result.endedMs = performance.now();
  return result;
}

async function* events(body: AsyncIterable<Uint8Array>): AsyncGenerator<{ type: string; data: string }> {
  const decoder = new TextDecoder();
  let parts: string[] = [];
  for await (const piece of body) {
    const text = decoder.decode(piece, { stream: true });
    parts.push(text);
    if (!text.includes('\n\n') && !(parts.length > 1 && text.startsWith('\n'))) continue;
    const frames = parts.join('').split('\n\n');
    parts = [frames.pop() ?? ''];
    for (const frame of frames) {
      const type = /^event: (\w+)$/m.exec(frame)?.[1];
      const at = frame.indexOf('data: ');
      if (type !== undefined && at !== -1) yield { type, data: frame.slice(at + 6) };
    }
  }
}
