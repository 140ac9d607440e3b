// Counts the progress of a transfer and reports it at intervals.

import { limits, type TransferProgress } from '@opsconductor/protocol';
import { cutText } from '../../cut-text.ts';
import type { TreeProgress } from '../copy/tree-copy.ts';
import { shownPath } from '../tree/shown-path.ts';

/** The rate covers this time: steady enough to read, and soon right again after a pause. */
const rateWindowMs = 5_000;

export class ProgressMeter implements TreeProgress {
  readonly #tell: (progress: TransferProgress) => void;
  readonly #nowMs: () => number;
  readonly #samples: { atMs: number; bytes: number }[] = [];
  readonly #underWay = new Set<string>();
  #timer: NodeJS.Timeout | undefined;
  #files = 0;
  #filesTotal = 0;
  #bytes = 0;
  #bytesTotal = 0;
  #isCounted = false;

  constructor(tell: (progress: TransferProgress) => void, nowMs: () => number = () => performance.now()) {
    this.#tell = tell;
    this.#nowMs = nowMs;
  }

  start(): void {
    // A first sample, so that the first report has a rate.
    this.sample();
    this.#timer = setInterval(() => this.#tell(this.sample()), limits.transferProgressMs);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  found(bytes: number): void {
    this.#filesTotal += 1;
    this.#bytesTotal += bytes;
  }

  /** Everything has been found: the totals are final. */
  counted(): void {
    this.#isCounted = true;
  }

  began(path: string): void {
    this.#underWay.add(path);
  }

  moved(bytes: number): void {
    this.#bytes += bytes;
  }

  /**
   * Tells of bytes that an earlier transfer has moved, or, negative, of some that have to be moved again: no part of
   * the rate.
   */
  isThere(bytes: number): void {
    this.#bytes += bytes;
    for (const sample of this.#samples) sample.bytes += bytes;
  }

  ended(path: string): void {
    this.#underWay.delete(path);
    this.#files += 1;
  }

  /** Returns the current progress. */
  sample(): TransferProgress {
    const atMs = this.#nowMs();
    this.#samples.push({ atMs, bytes: this.#bytes });
    while ((this.#samples[1]?.atMs ?? atMs) <= atMs - rateWindowMs) this.#samples.shift();
    const first = this.#samples[0] ?? { atMs, bytes: 0 };
    const elapsedMs = atMs - first.atMs;
    const [current] = this.#underWay;
    return {
      files: this.#files,
      bytes: this.#bytes,
      filesTotal: this.#filesTotal,
      bytesTotal: Math.max(this.#bytesTotal, this.#bytes),
      isCounted: this.#isCounted,
      bytesPerSecond: elapsedMs === 0 ? 0 : Math.round(((this.#bytes - first.bytes) * 1_000) / elapsedMs),
      ...(current === undefined ? {} : { current: cutText(shownPath(current), 1_000) }),
    };
  }
}
