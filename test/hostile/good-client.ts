// A well-behaved client: it requests a page of jobs on a kept connection at a steady pace, and measures how long that
// takes. Now and then it also has somebody sign in.
import { readFileSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { BenchSystem } from '../../bench/bench-system.ts';
import { isOk, readText, send } from '../../bench/http-client.ts';
import { percentile } from '../../bench/statistics.ts';

const everyMs = 20;
/** No more often than one address may permanently. */
const signInEveryMs = 4_000;
/** An address that no attacker uses: anyone who shares theirs has to wait, by design. */
const ownAddress = '127.0.0.9';

export interface Served {
  requests: number;
  p50Ms: number;
  p99Ms: number;
  /** How long the server's event loop was busy during each wait: this doesn't depend on other load of the machine. */
  workP50Ms: number;
  workP99Ms: number;
  /** How long this process itself was stalled at most: waiting during that time isn't the server's fault. */
  heldUpMs: number;
  /** What was refused, and with which answer. */
  refused: string[];
}

export class GoodClient {
  readonly #baseUrl: string;
  readonly #token: string;
  readonly #underWay = new Set<Promise<void>>();
  readonly #newcomer: number;
  #isSigningIn = false;
  readonly #loopDelay = monitorEventLoopDelay({ resolution: 10 });
  readonly #timers: NodeJS.Timeout[];
  #tookMs: number[] = [];
  #workMs: number[] = [];
  readonly #serverPid: number;
  #refused: string[] = [];

  /** `newcomer`: the user that signs in. */
  constructor({ baseUrl, token, serverPid }: BenchSystem, newcomer: number) {
    this.#baseUrl = `${baseUrl}/api/v1`;
    this.#token = token;
    this.#serverPid = serverPid;
    this.#loopDelay.enable();
    this.#newcomer = newcomer;
    // Sent whether or not the previous one has been answered: a client that waits would not notice a server that hangs.
    this.#timers = [
      setInterval(() => this.#begin(() => this.#ask()), everyMs),
      setInterval(() => this.#begin(() => this.#signIn()), signInEveryMs),
    ];
  }

  /** Returns the results of all requests since the last call. */
  async served(): Promise<Served> {
    await Promise.all(this.#underWay);
    const [tookMs, workMs, refused] = [this.#tookMs, this.#workMs, this.#refused];
    this.#tookMs = [];
    this.#workMs = [];
    this.#refused = [];
    const heldUpMs = this.#loopDelay.max / 1e6;
    this.#loopDelay.reset();
    return {
      heldUpMs,
      requests: tookMs.length,
      p50Ms: percentile(tookMs, 50),
      p99Ms: percentile(tookMs, 99),
      workP50Ms: percentile(workMs, 50),
      workP99Ms: percentile(workMs, 99),
      refused: [...new Set(refused)],
    };
  }

  stop(): void {
    for (const timer of this.#timers) clearInterval(timer);
    this.#loopDelay.disable();
  }

  #begin(deed: () => Promise<void>): void {
    const underWay = deed()
      .catch(
        (error: unknown) => void this.#refused.push(error instanceof Error ? error.message : String(error)),
      )
      .finally(() => this.#underWay.delete(underWay));
    this.#underWay.add(underWay);
  }

  async #ask(): Promise<void> {
    const startedMs = performance.now();
    const startedAtWorkMs = mainThreadMs(this.#serverPid);
    try {
      await this.#send('GET', '/jobs?limit=50');
    } finally {
      this.#tookMs.push(performance.now() - startedMs);
      this.#workMs.push(mainThreadMs(this.#serverPid) - startedAtWorkMs);
    }
  }

  /** One at a time, because a newer link invalidates the previous one. */
  async #signIn(): Promise<void> {
    if (this.#isSigningIn) return;
    this.#isSigningIn = true;
    try {
      await this.#signInByLink();
    } finally {
      this.#isSigningIn = false;
    }
  }

  async #signInByLink(): Promise<void> {
    const link = await this.#send('POST', `/users/${this.#newcomer}/sign-in-link`);
    const { url } = JSON.parse(link) as { url: string };
    await this.#send('POST', '/sign-in/exchange', { code: url.split('#code=')[1] }, ownAddress);
  }

  /** Returns the answer; rejects with what was refused. */
  async #send(method: string, path: string, body?: unknown, localAddress?: string): Promise<string> {
    const reply = await send(method, `${this.#baseUrl}${path}`, this.#token, { body, localAddress });
    const text = await readText(reply);
    if (!isOk(reply)) throw new Error(`${reply.statusCode} to ${method} ${path}`);
    return text;
  }
}

/** Returns how long the main thread of a process has been on a processor. */
function mainThreadMs(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/schedstat`, 'latin1').split(' ')[0]) / 1e6;
}
