// Answers that their connections do not take: each is held in memory until it is taken or given up. A browser that is
// suspended takes nothing for a while either, and a slow line little, so somebody is cut off only where it takes very long, or
// where all of them together are too much; then of the address that has most of it.
import type { ServerResponse } from 'node:http';
import { rateLimitKeyOf } from '../auth/rate-limiter.ts';

export interface UnreadLimits {
  /** Of all answers together. */
  maxBytes: number;
  /** Nobody is cut off for their bytes who took something so short a time ago. */
  bytesPatienceMs: number;
  /** So many at a time that have taken nothing for longer than `countPatienceMs`; the system holds megabytes of each. */
  maxStalled: number;
  /**
   * The system takes from us only when a third of what it holds has gone, so a slow reader seems to take nothing for some
   * seconds.
   */
  countPatienceMs: number;
  /** Who has taken nothing for so long is cut off in any case. */
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

/** What was taken of what a connection had to send, and since when it is no more. */
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

  /** From here on until its end; of an answer whose turn on its connection has come. */
  watch(answer: ServerResponse): void {
    // At the first look it counts as having taken something.
    this.#answers.set(answer, { bytes: -1, sinceMs: 0 });
    answer.once('close', () => this.#answers.delete(answer));
  }

  /** Cuts off whom it must; by a clock that nobody sets. */
  look(nowMs: number): void {
    const { maxBytes, bytesPatienceMs, maxStalled, countPatienceMs, mostStalledMs } = this.#limits;
    let bytes = 0;
    let stalled: Stalled[] = [];
    for (const [answer, taken] of this.#answers) {
      const { writableLength } = answer;
      bytes += writableLength;
      const takenBytes = takenOf(answer);
      // That more waits than before is no taking.
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

/** Of what its connection was given, over all its answers. */
function takenOf({ req: { socket } }: ServerResponse): number {
  return socket.bytesWritten - socket.writableLength;
}

function addressOf({ req: { socket } }: ServerResponse): string {
  return rateLimitKeyOf((socket.remoteAddress ?? '').replace(/^::ffff:(?=\d+\.)/, ''));
}

/**
 * Enough to come to `excess`, of the addresses that have most, so that each keeps as much as another; of those, who has taken
 * nothing for longest.
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

/** What each may keep, where what all have beyond it comes to `excess`. */
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
