// A client that behaves: it asks for a page of jobs on a kept connection, at a steady pace, and says how long that took.
import { readText, send } from '../../bench/http-client.ts';
import { percentile } from '../../bench/statistics.ts';

const everyMs = 20;

export interface Served {
  requests: number;
  p50Ms: number;
  p99Ms: number;
  /** By what was answered, where it was not 200. */
  refused: string[];
}

export class GoodClient {
  readonly #url: string;
  readonly #token: string;
  readonly #underWay = new Set<Promise<void>>();
  readonly #timer: NodeJS.Timeout;
  #tookMs: number[] = [];
  #refused: string[] = [];

  constructor(baseUrl: string, token: string) {
    this.#url = `${baseUrl}/api/v1/jobs?limit=50`;
    this.#token = token;
    // Asked whether or not the one before is answered: a client that waits would not meet a server that hangs.
    this.#timer = setInterval(() => {
      const asked = this.#ask().finally(() => this.#underWay.delete(asked));
      this.#underWay.add(asked);
    }, everyMs);
  }

  /** What came of all that was asked since this was last called. */
  async served(): Promise<Served> {
    await Promise.all(this.#underWay);
    const [tookMs, refused] = [this.#tookMs, this.#refused];
    this.#tookMs = [];
    this.#refused = [];
    return {
      requests: tookMs.length,
      p50Ms: percentile(tookMs, 50),
      p99Ms: percentile(tookMs, 99),
      refused: [...new Set(refused)],
    };
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  async #ask(): Promise<void> {
    const startedMs = performance.now();
    try {
      const reply = await send('GET', this.#url, this.#token);
      await readText(reply);
      if (reply.statusCode !== 200) this.#refused.push(String(reply.statusCode));
    } catch (error) {
      this.#refused.push(error instanceof Error ? error.message : String(error));
    }
    this.#tookMs.push(performance.now() - startedMs);
  }
}
