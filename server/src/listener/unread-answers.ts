// Answers that their connections do not take: each is held in memory until it is taken or given up. A browser that is
// suspended takes nothing for a while either, so somebody is cut off only where it takes very long, or where all of them
// together are too much.
import type { ServerResponse } from 'node:http';

export interface UnreadLimits {
  /** Of all answers together. */
  maxBytes: number;
  /** So many at a time; the system holds megabytes of each, which no count of bytes here shows. */
  maxStalled: number;
  /** Nobody is cut off for the others who took something so short a time ago. */
  leastStalledMs: number;
  /** Who has taken nothing for so long is cut off in any case. */
  mostStalledMs: number;
}

export const unreadLimits: UnreadLimits = {
  maxBytes: 64 * 1024 * 1024,
  maxStalled: 256,
  leastStalledMs: 500,
  mostStalledMs: 120_000,
};
const lookEveryMs = 250;

/** What was not taken of an answer, and since when it is as much. */
interface Unread {
  bytes: number;
  sinceMs: number;
}

export class UnreadAnswers {
  readonly #limits: UnreadLimits;
  readonly #answers = new Map<ServerResponse, Unread>();
  readonly #timer: NodeJS.Timeout;

  constructor(limits = unreadLimits) {
    this.#limits = limits;
    this.#timer = setInterval(() => this.look(performance.now()), lookEveryMs).unref();
  }

  /** From here on until its end; of an answer whose turn on its connection has come. */
  watch(answer: ServerResponse): void {
    this.#answers.set(answer, { bytes: 0, sinceMs: 0 });
    answer.once('close', () => this.#answers.delete(answer));
  }

  /** Cuts off whom it must; by a clock that nobody sets. */
  look(nowMs: number): void {
    let bytes = 0;
    const stalled: [ServerResponse, Unread][] = [];
    for (const [answer, unread] of this.#answers) {
      const { writableLength } = answer;
      bytes += writableLength;
      if (writableLength === 0 || writableLength !== unread.bytes) {
        Object.assign(unread, { bytes: writableLength, sinceMs: nowMs });
      } else if (nowMs - unread.sinceMs >= this.#limits.leastStalledMs) stalled.push([answer, unread]);
    }
    stalled.sort(([, a], [, b]) => a.sinceMs - b.sinceMs);
    const { maxBytes, maxStalled, mostStalledMs } = this.#limits;
    for (const [n, [answer, unread]] of stalled.entries()) {
      const isTooMuch = bytes > maxBytes || stalled.length - n > maxStalled;
      if (!isTooMuch && nowMs - unread.sinceMs < mostStalledMs) break;
      bytes -= unread.bytes;
      answer.req.socket.destroy();
    }
  }

  close(): void {
    clearInterval(this.#timer);
  }
}
