// Answers that their connections do not take: each is held in memory until it is taken or given up. A suspended browser
// also takes nothing for a while, and a slow line takes little. So a client is cut off only if it takes very long, or
// if all of them together hold too much; then a client of the address that holds most of it.
import type { ServerResponse } from 'node:http';
import { rateLimitKeyOf } from '../auth/limits/rate-limiter.ts';

export interface UnreadLimits {
  /** Of all answers together. */
  maxBytes: number;
  /** A client that took something this recently is not cut off because of its bytes. */
  bytesPatienceMs: number;
  /** How many may have taken nothing for longer than `countPatienceMs`; the system holds megabytes of each. */
  maxStalled: number;
  /**
   * The system takes more from us only once a third of what it holds has gone, so a slow reader seems to take nothing
   * for some seconds.
   */
  countPatienceMs: number;
  /** A client that has taken nothing for this long is cut off in any case. */
  mostStalledMs: number;
}

export const unreadLimits: UnreadLimits = {
  maxBytes: 64 * 1024 * 1024,
  bytesPatienceMs: 500,
  maxStalled: 256,
  countPatienceMs: 10_000,
  mostStalledMs: 120_000,
};
const lookEveryMs = 250;

/** How much of what a connection had to send was taken, and since when nothing more was. */
interface Taken {
  bytes: number;
  sinceMs: number;
}

interface Stalled {
  answer: ServerResponse;
  address: string;
  bytes: number;
  forMs: number;
}

export class UnreadAnswers {
  readonly #limits: UnreadLimits;
  readonly #answers = new Map<ServerResponse, Taken>();
  readonly #timer: NodeJS.Timeout;

  constructor(limits = unreadLimits) {
    this.#limits = limits;
    this.#timer = setInterval(() => this.look(performance.now()), lookEveryMs).unref();
  }

  /** Watches an answer until its end. Call it when the answer's turn on its connection has come. */
  watch(answer: ServerResponse): void {
    // At the first look it counts as having been taken from.
    this.#answers.set(answer, { bytes: -1, sinceMs: 0 });
    answer.once('close', () => this.#answers.delete(answer));
  }

  /** Cuts off the clients that must be. `nowMs` comes from a monotonic clock. */
  look(nowMs: number): void {
    const { maxBytes, bytesPatienceMs, maxStalled, countPatienceMs, mostStalledMs } = this.#limits;
    let bytes = 0;
    let stalled: Stalled[] = [];
    for (const [answer, taken] of this.#answers) {
      const { writableLength } = answer;
      bytes += writableLength;
      const takenBytes = takenOf(answer);
      // That more is waiting than before does not mean that something was taken.
      if (writableLength === 0 || takenBytes !== taken.bytes)
        Object.assign(taken, { bytes: takenBytes, sinceMs: nowMs });
      const forMs = nowMs - taken.sinceMs;
      if (forMs >= bytesPatienceMs)
        stalled.push({ answer, address: addressOf(answer), bytes: writableLength, forMs });
    }
    stalled.sort((a, b) => b.forMs - a.forMs);
    const cutOff = (those: readonly Stalled[]) => {
      for (const each of those) {
        bytes -= each.bytes;
        each.answer.req.socket.destroy();
      }
      const gone = new Set(those);
      stalled = stalled.filter((each) => !gone.has(each));
    };
    cutOff(stalled.filter(({ forMs }) => forMs >= mostStalledMs));
    cutOff(mostOf(stalled, bytes - maxBytes, (each) => each.bytes));
    const long = stalled.filter(({ forMs }) => forMs >= countPatienceMs);
    cutOff(mostOf(long, long.length - maxStalled, () => 1));
  }

  close(): void {
    clearInterval(this.#timer);
  }
}

/** Returns how much was taken of what the connection was given, over all its answers. */
function takenOf({ req: { socket } }: ServerResponse): number {
  return socket.bytesWritten - socket.writableLength;
}

function addressOf({ req: { socket } }: ServerResponse): string {
  return rateLimitKeyOf((socket.remoteAddress ?? '').replace(/^::ffff:(?=\d+\.)/, ''));
}

/**
 * Returns enough answers to make up `excess`, from the addresses that hold most, so that these keep equal amounts; of
 * an address, the answers from which nothing was taken for longest.
 */
function mostOf(stalled: readonly Stalled[], excess: number, weigh: (each: Stalled) => number): Stalled[] {
  if (excess <= 0) return [];
  const left = new Map<string, number>();
  for (const each of stalled) left.set(each.address, (left.get(each.address) ?? 0) + weigh(each));
  const kept = keptByEach([...left.values()], excess);
  let toGo = excess;
  return stalled.filter((each) => {
    const own = left.get(each.address) ?? 0;
    if (toGo <= 0 || own <= kept) return false;
    left.set(each.address, own - weigh(each));
    toGo -= weigh(each);
    return true;
  });
}

/** Returns how much each may keep, if what all hold beyond that adds up to `excess`. */
function keptByEach(weights: number[], excess: number): number {
  const most = weights.sort((a, b) => b - a);
  let sum = 0;
  for (const [n, weight] of most.entries()) {
    sum += weight;
    const kept = (sum - excess) / (n + 1);
    if (kept >= (most[n + 1] ?? 0)) return kept;
  }
  return 0;
}
