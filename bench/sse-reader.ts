// Reads a run's live stream the way a browser does: parses events and decompresses chunks.
import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { gunzipSync } from 'node:zlib';
import type { ChunkEvent, RunChange } from '@opsconductor/protocol';
import { isOk, send } from './http-client.ts';

export interface ReadRun {
  status: string;
  bytes: number;
  /** Hash of all output; computed on demand. */
  sha256(): string;
  /** performance.now() of the first output byte. */
  firstByteMs: number;
  endedMs: number;
}

/** Reads the stream of a run until it ends. */
export async function readRun(url: string, token: string): Promise<ReadRun> {
  return readStream(url, await send('GET', url, token));
}

/** Starts a run with a request that is answered with its stream, and reads that until it ends. */
export async function startAndRead(url: string, token: string, body: unknown): Promise<ReadRun> {
  return readStream(url, await send('POST', url, token, { body, accept: 'text/event-stream' }));
}

async function readStream(url: string, reply: IncomingMessage): Promise<ReadRun> {
  if (!isOk(reply)) throw new Error(`${url}: ${reply.statusCode}`);
  // Hashed only afterwards, because the peers don't hash what they read.
  const chunks: ChunkEvent[] = [];
  const result: ReadRun = {
    status: '',
    bytes: 0,
    sha256() {
      const hash = createHash('sha256');
      for (const chunk of chunks) hash.update(inflated(chunk));
      return hash.digest('hex');
    },
    firstByteMs: Number.NaN,
    endedMs: Number.NaN,
  };
  for await (const event of events(reply)) {
    if (event.type === 'chunk') {
      if (result.bytes === 0) result.firstByteMs = performance.now();
      const chunk = JSON.parse(event.data) as ChunkEvent;
      chunks.push(chunk);
      result.bytes += inflated(chunk).length;
    } else if (event.type === 'change') {
      const change = JSON.parse(event.data) as RunChange;
      result.status = change.run?.status ?? result.status;
    }
    // Reads on after the end, so that the connection can serve the next reader.
  }
  result.endedMs = performance.now();
  return result;
}

function inflated({ data, rawLength }: ChunkEvent): Buffer {
  return gunzipSync(Buffer.from(data, 'base64'), { chunkSize: Math.max(64, rawLength) });
}

const frameEnd = '\n\n';

/** Decodes bytes event by event: decoding and splitting the stream as one text took as long as hashing it. */
async function* events(body: AsyncIterable<Buffer>): AsyncGenerator<{ type: string; data: string }> {
  let parts: Buffer[] = [];
  for await (const piece of body) {
    parts.push(piece);
    // A delimiter may be cut in two, and is then found with the next piece.
    if (!piece.includes(frameEnd) && piece.length > 1) continue;
    const bytes = parts.length === 1 ? piece : Buffer.concat(parts);
    let at = 0;
    for (let end = bytes.indexOf(frameEnd); end !== -1; end = bytes.indexOf(frameEnd, at)) {
      const event = eventOf(bytes.toString('utf8', at, end));
      if (event !== undefined) yield event;
      at = end + frameEnd.length;
    }
    parts = at === bytes.length ? [] : [bytes.subarray(at)];
  }
}

function eventOf(frame: string): { type: string; data: string } | undefined {
  const type = /^event: (\w+)$/m.exec(frame)?.[1];
  const at = frame.indexOf('data: ');
  return type === undefined || at === -1 ? undefined : { type, data: frame.slice(at + 6) };
}
