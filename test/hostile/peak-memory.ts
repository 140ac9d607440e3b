// The peak memory of a process since the last query, sampled ten times a second.
import { readFileSync } from 'node:fs';

const everyMs = 100;

export class PeakMemory {
  readonly #file: string;
  readonly #timer: NodeJS.Timeout;
  #peakMb = 0;

  constructor(pid: number) {
    this.#file = `/proc/${pid}/status`;
    this.#timer = setInterval(() => this.#look(), everyMs);
  }

  get peakMb(): number {
    return Math.round(this.#peakMb);
  }

  restart(): void {
    this.#peakMb = 0;
    this.#look();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Throws if the process is gone, which ends the measurement. */
  #look(): void {
    const status = readFileSync(this.#file, 'utf8');
    this.#peakMb = Math.max(this.#peakMb, Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1_024);
  }
}
