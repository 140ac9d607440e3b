// Reads a run's live stream the way a browser does: resumes with the last id after every break, and rejects a chunk
// that arrives twice or after a gap.
import { createHash } from 'node:crypto';
import { type IncomingMessage, request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { setTimeout as delay } from 'node:timers/promises';
import { gunzipSync } from 'node:zlib';
import type { ChunkEvent, RunChange } from '@opsconductor/protocol';
import { TestRunner } from 'vitest';

export interface RunReaderOptions {
  /** URL of the events, with their query. */
  url: string;
  token: string;
  /** PEM of the CA, if the server is reached by TLS. */
  ca?: string;
  /** The clock for deciding how long the test can still wait, in ms. */
  now?: () => number;
  /** Called before each piece is read from the connection: a slow reader waits here. */
  beforePiece?: () => Promise<void>;
}

interface StepOutput {
  epoch: number;
  seq: number;
  /** Content of the newest chunk. */
  last: string;
  bytes: number;
  hash: ReturnType<typeof createHash>;
  /** `stdout` and `stderr` chunks in order of arrival, as long as they are few. */
  parts: { stream: string; text: string }[];
}

const maxKeptBytes = 1024 * 1024;
const retryMs = 50;
const maxWaitMs = 90_000;
// Fails before the test's own timeout, whose message wouldn't say what was being waited for.
const beforeTestEndsMs = 2_000;

export class RunReader {
  /** Newest state of each step, by id. */
  readonly steps = new Map<number, { status?: string; reason?: string | null }>();
  status = '';
  errorMessage: string | null = null;
  /** Connections that broke before the end. */
  breaks = 0;
  readonly ended: Promise<void>;
  readonly #options: RunReaderOptions;
  readonly #output = new Map<number, StepOutput>();
  readonly #waiting = new Set<() => void>();
  readonly #closing = new AbortController();
  #lastId = '';
  #failure: unknown;
  #isEnded = false;

  constructor(options: RunReaderOptions) {
    this.#options = options;
    this.ended = this.#read().catch((error) => {
      this.#failure = error;
      this.#check();
    });
  }

  get bytes(): number {
    return [...this.#output.values()].reduce((sum, output) => sum + output.bytes, 0);
  }

  /** Returns the text of a step's output, of one stream or both in order of arrival; for outputs under 1 MiB. */
  text(stepId: number, stream?: string): string {
    const parts = this.#output.get(stepId)?.parts ?? [];
    return parts
      .filter((part) => stream === undefined || part.stream === stream)
      .map((part) => part.text)
      .join('');
  }

  sha256(stepId: number): string {
    return (this.#output.get(stepId)?.hash ?? createHash('sha256')).copy().digest('hex');
  }

  /** Describes what was received for each step, with the beginning of its output. */
  #stepWords(): string {
    const words = [...this.steps].map(
      ([id, { status }]) => `step ${id} ${status}: ${this.text(id).slice(0, 80)}`,
    );
    return JSON.stringify(words);
  }

  /** Resolves when the condition holds after an event; rejects after a limited time, or if the stream is faulty. */
  until(condition: () => boolean, what: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const done = (settle: () => void) => {
        clearTimeout(timer);
        this.#waiting.delete(check);
        settle();
      };
      const fail = (why: string) =>
        done(() =>
          reject(
            new Error(
              `${what}: ${why}; run ${this.status} (${this.errorMessage}), ${this.bytes} bytes, ${this.#stepWords()}`,
              {
                cause: this.#failure,
              },
            ),
          ),
        );
      const timeoutMs = waitMs(this.#options.now ?? Date.now);
      const timer = setTimeout(() => fail(`not within ${timeoutMs / 1000} s`), timeoutMs);
      const check = () => {
        if (this.#failure !== undefined) fail('the stream is at fault');
        else if (condition()) done(resolve);
        else if (this.#isEnded) fail('the stream has ended');
      };
      this.#waiting.add(check);
      check();
    });
  }

  /** Waits until the run has ended and all of its output has been read. */
  async end(): Promise<string> {
    await this.until(() => this.#isEnded, 'the end of the stream');
    return this.status;
  }

  close(): void {
    this.#closing.abort();
  }

  async #read(): Promise<void> {
    const { signal } = this.#closing;
    while (!this.#isEnded && !signal.aborted) {
      try {
        await this.#readOnce();
      } catch (error) {
        if (error instanceof StreamFault) throw error;
      }
      if (this.#isEnded || signal.aborted) return;
      this.breaks += 1;
      // As EventSource does, but sooner than the server asks for.
      await delay(retryMs, undefined, { signal }).catch(() => undefined);
    }
  }

  async #readOnce(): Promise<void> {
    const reply = await this.#open();
    if (reply.statusCode !== 200) {
      reply.resume();
      if ((reply.statusCode ?? 0) < 500) throw new StreamFault(`answered ${reply.statusCode}`);
      return;
    }
    let rest: string[] = [];
    reply.setEncoding('latin1');
    for await (const piece of reply) {
      const text = String(piece);
      rest.push(text);
      if (!text.includes('\n\n') && !text.startsWith('\n')) continue;
      const frames = rest.join('').split('\n\n');
      rest = [frames.pop() ?? ''];
      for (const frame of frames) this.#take(frame);
      this.#check();
      if (this.#isEnded) return;
      await this.#options.beforePiece?.();
    }
  }

  #open(): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const { url, token, ca } = this.#options;
      const request = url.startsWith('https:') ? requestHttps : requestHttp;
      const headers = { authorization: `Bearer ${token}`, 'last-event-id': this.#lastId };
      request(
        url,
        { headers, agent: false, signal: this.#closing.signal, ...(ca === undefined ? {} : { ca }) },
        resolve,
      )
        .on('error', reject)
        .end();
    });
  }

  #take(frame: string): void {
    const field = (name: string) => new RegExp(`^${name}: ?(.*)$`, 'm').exec(frame)?.[1];
    const type = field('event');
    const data = field('data') ?? '';
    if (type === 'chunk') this.#takeChunk(JSON.parse(data) as ChunkEvent);
    else if (type === 'change')
      this.#takeChange(JSON.parse(Buffer.from(data, 'latin1').toString()) as RunChange);
    else if (type === 'end') this.#isEnded = true;
    this.#lastId = field('id') ?? this.#lastId;
  }

  #takeChunk(chunk: ChunkEvent): void {
    const known = this.#output.get(chunk.stepId);
    const output =
      known?.epoch === chunk.epoch
        ? known
        : { epoch: chunk.epoch, seq: 0, last: '', bytes: 0, hash: createHash('sha256'), parts: [] };
    this.#output.set(chunk.stepId, output);
    // Sent before it had an id, and the stream ended in between (docs/adr/0037).
    if (chunk.seq === output.seq && chunk.data === output.last) return;
    if (chunk.seq !== output.seq + 1)
      throw new StreamFault(`chunk ${chunk.seq} of step ${chunk.stepId} came after ${output.seq}`);
    const raw = gunzipSync(Buffer.from(chunk.data, 'base64'));
    if (raw.length !== chunk.rawLength) throw new StreamFault(`chunk ${chunk.seq} has ${raw.length} bytes`);
    output.seq = chunk.seq;
    output.last = chunk.data;
    output.bytes += raw.length;
    output.hash.update(raw);
    if (output.bytes <= maxKeptBytes) output.parts.push({ stream: chunk.stream, text: raw.toString() });
  }

  #takeChange(change: RunChange): void {
    this.status = change.run?.status ?? this.status;
    this.errorMessage = change.run?.errorMessage ?? this.errorMessage;
    for (const { id, ...step } of change.steps ?? []) this.steps.set(id, { ...this.steps.get(id), ...step });
  }

  #check(): void {
    for (const check of [...this.#waiting]) check();
  }
}

/** Returns how long the current test can still wait. */
function waitMs(now: () => number): number {
  const test = TestRunner.getCurrentTest();
  const startedMs = test?.result?.startTime;
  // It has no timeout, or no test is running: a hook.
  if (!test?.timeout || startedMs === undefined) return maxWaitMs;
  const leftMs = startedMs + test.timeout - beforeTestEndsMs - now();
  return Math.min(maxWaitMs, Math.max(0, Math.floor(leftMs)));
}

/** The stream sent something that it must never send; resuming can't fix that. */
class StreamFault extends Error {}
