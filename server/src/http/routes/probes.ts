// What load balancers and agents fetch before they could sign in: probes, the CA certificate and the agent program.
import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { within } from '../../within.ts';
import { isCurrent } from '../answers/entity-tag.ts';
import { answerHeldBytes } from '../answers/held-bytes.ts';

export interface ProbeDeps {
  /** Returns what keeps this server from working, in words; empty if nothing does. */
  notReady(): Promise<readonly string[]>;
  /** Whether this server works except that output of runs can't be stored; false by default. */
  isOutputRefused?(): boolean;
  /** How long `/readyz` waits for `notReady`; 3 s by default. */
  readyWithinMs?: number;
  /** Certificate of the private CA as PEM, if one is in use. */
  caPem: string | undefined;
  /** Returns the path of the bundled agent, which is built if necessary. */
  agentBundle(): Promise<string>;
}

/** Answers a GET. */
export type Answer = (request: Request) => Response | Promise<Response>;

/** Load balancers ask every few seconds and take silence for an answer, but some of them only after a long time. */
const defaultReadyWithinMs = 3_000;

export function probeAnswers(deps: ProbeDeps): [path: string, answer: Answer][] {
  const bundle = new AgentBundle(deps.agentBundle);
  const readiness = new Readiness(deps);
  return [
    ['/healthz', () => text('ok\n')],
    ['/readyz', () => readiness.answer()],
    ['/agent.mjs', (request) => bundle.answer(request)],
    ...(deps.caPem === undefined ? [] : [privateCa(deps.caPem)]),
  ];
}

/**
 * Answers 503 to keep load balancers away. What is wrong is in the log and the console; it is not for everyone. A server
 * that has no room for output still shows and stops runs, and every other one has the same database: it stays in use.
 */
class Readiness {
  readonly #deps: ProbeDeps;
  /** The check in progress, shared by all probes, so that they don't pile up when the database hangs. */
  #looking: Promise<readonly string[]> | undefined;

  constructor(deps: ProbeDeps) {
    this.#deps = deps;
  }

  async answer(): Promise<Response> {
    this.#looking ??= this.#deps.notReady().finally(() => {
      this.#looking = undefined;
    });
    const problems = await within(this.#looking, this.#deps.readyWithinMs ?? defaultReadyWithinMs);
    if (problems?.length !== 0) return text('not ready\n', 503);
    return this.#deps.isOutputRefused?.() === true
      ? text('ready, but degraded: output can not be stored\n')
      : text('ready\n');
  }
}

function privateCa(pem: string): [string, Answer] {
  const headers = { 'Content-Type': 'application/x-pem-file', 'Cache-Control': 'no-cache' };
  return ['/ca.pem', () => new Response(pem, { headers })];
}

function text(body: string, status = 200): Response {
  return new Response(body, {
    status,
    headers: { 'Content-Type': 'text/plain; charset=utf-8', 'Cache-Control': 'no-store' },
  });
}

/** Keeps the file in memory until it changes. */
class AgentBundle {
  readonly #path: () => Promise<string>;
  #held: { body: Uint8Array<ArrayBuffer>; sha256: Buffer; version: string } | undefined;

  constructor(path: () => Promise<string>) {
    this.#path = path;
  }

  /** The digest is in Repr-Digest (RFC 9530) and, in hex, in the entity tag. */
  async answer(request: Request): Promise<Response> {
    const { body, sha256 } = await this.#read();
    const headers = {
      ETag: `"${sha256.toString('hex')}"`,
      'Repr-Digest': `sha-256=:${sha256.toString('base64')}:`,
      'Cache-Control': 'no-cache',
      'Content-Type': 'text/javascript; charset=utf-8',
    };
    if (isCurrent(request, headers.ETag)) return new Response(null, { status: 304, headers });
    return answerHeldBytes(body, headers);
  }

  async #read() {
    const path = await this.#path();
    const { mtimeMs, size } = await stat(path);
    const version = `${path} ${mtimeMs} ${size}`;
    if (this.#held?.version !== version) {
      const body = new Uint8Array(await readFile(path));
      this.#held = { body, sha256: createHash('sha256').update(body).digest(), version };
    }
    return this.#held;
  }
}
