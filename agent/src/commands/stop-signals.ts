// What a signal asks of a running agent.

/** A wrapper (npm, timeout) passes the terminal's Ctrl-C on to a program that has already received it. */
const sameCtrlCMs = 1_000;

export class StopSignals {
  readonly #nowMs: () => number;
  #first: { signal: string; atMs: number } | undefined;

  constructor(nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs;
  }

  /** The first signal drains, a second one stops at once. A Ctrl-C that arrives twice counts once. */
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
