// What a signal asks of a running agent.

/** A wrapper (npm, timeout) hands the terminal's Ctrl-C on to a program that has had it already. */
const sameCtrlCMs = 1_000;

export class StopSignals {
  readonly #nowMs: () => number;
  #first: { signal: string; atMs: number } | undefined;

  constructor(nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs;
  }

  /** The first one drains, a second one stops at once; a Ctrl-C that arrives twice is one. */
  take(signal: string): 'drain' | 'stop' | 'nothing' {
    const first = this.#first;
    if (first === undefined) {
      this.#first = { signal, atMs: this.#nowMs() };
      return 'drain';
    }
    const isSame = signal === 'SIGINT' && first.signal === signal && this.#nowMs() - first.atMs < sameCtrlCMs;
    return isSame ? 'nothing' : 'stop';
  }
}
