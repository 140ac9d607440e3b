// Notices that a target has stopped answering while a command goes on there, and that it answers again.
import type { StepTarget } from '../steps/step-type.ts';

/** Time between the probes of a silent connection, in seconds, unless the target sets it; and the time to answer one. */
const probeS = 15;
const answerMs = 5_000;
const lookMs = 1_000;

/** How long nothing may come from a target that answers the probes of its connection. */
export function silentAfterMs({
  keepaliveIntervalS = probeS,
}: Pick<StepTarget, 'keepaliveIntervalS'>): number {
  return keepaliveIntervalS * 1_000 + answerMs;
}

export interface SilenceWatchOptions {
  limitMs: number;
  /** An earlier process may have reported silence, so the first answer is reported. */
  wasReported: boolean;
  /** Called with when the target was last heard, or with undefined when it answers. */
  report(heardAtMs: number | undefined): void;
  now?: () => number;
}

/** What a connection says of its target. */
interface Heard {
  /** On the monotonic clock. */
  readonly heardAtMs: number;
}

export class SilenceWatch {
  readonly #options: SilenceWatchOptions;
  readonly #now: () => number;
  readonly #timer: NodeJS.Timeout;
  #connection: Heard | undefined;
  #heardAtMs: number;
  #isSilent: boolean | undefined;
  /** A single late look may be this process's own fault. */
  #lateLooks = 0;

  constructor(options: SilenceWatchOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
    this.#heardAtMs = this.#now();
    this.#isSilent = options.wasReported ? undefined : false;
    this.#timer = setInterval(() => this.look(), lookMs);
  }

  /** The target has answered on this connection. */
  follow(connection: Heard): void {
    this.#connection = connection;
    this.#hear(this.#now());
  }

  look(): void {
    const heardAtMs = this.#connection?.heardAtMs ?? 0;
    if (heardAtMs > this.#heardAtMs) {
      this.#hear(heardAtMs);
      return;
    }
    this.#lateLooks = this.#now() - this.#heardAtMs > this.#options.limitMs ? this.#lateLooks + 1 : 0;
    if (this.#lateLooks < 2 || this.#isSilent === true) return;
    this.#isSilent = true;
    this.#options.report(this.#heardAtMs);
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #hear(atMs: number): void {
    this.#heardAtMs = Math.max(this.#heardAtMs, atMs);
    this.#lateLooks = 0;
    if (this.#isSilent === false) return;
    this.#isSilent = false;
    this.#options.report(undefined);
  }
}
