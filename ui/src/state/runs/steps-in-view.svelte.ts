// Reads the steps of those hosts of a large run that are in view, and keeps those of a limited number of hosts.
import type { Step } from '@opsconductor/protocol';
import { type ApiError, failureOf, isPassing } from '../../api/client.ts';
import { pause, pauseMs } from '../../api/pauses.ts';
import { fetchStepsOf } from '../../api/runs.ts';
import type { RunHosts, StepChange } from './run-hosts.svelte.ts';

/** Most steps to keep of hosts that were in view. */
const maxStepsKept = 20_000;
/** Most hosts whose steps are requested at once. Of a job with few steps, one answer holds those of all of them. */
const maxHostsAsked = 40;
/** How many passing failures to read steps are retried before the reader is told. */
const failuresUntold = 2;

export interface StepsInViewOptions {
  runId: number;
  hosts: RunHosts;
  /** Ends all reading. */
  signal: AbortSignal;
  /** Whether all hosts are known, and not all their steps are. */
  isNeeded(): boolean;
  stepsPerHost(): number;
}

export class StepsInView {
  /** Why steps of hosts in view are missing. */
  error = $state.raw<ApiError>();
  readonly #options: StepsInViewOptions;
  /** Ids of the hosts in view, in the order in which to read their steps. */
  #shown: readonly number[] = [];
  /** Ids of the hosts whose steps have been read, in the order of reading. */
  readonly #read = new Set<number>();
  #isReading = false;
  /** Ends the pause before a failed reading is retried. */
  #pausing: AbortController | undefined;
  /** Grows when the run is read from the start, so that answers to earlier requests are ignored. */
  #runReading = 0;
  /** Changes to steps that came while steps were being read, since the answer may be older than they are. */
  readonly #meanwhile = new Map<number, StepChange>();

  constructor(options: StepsInViewOptions) {
    this.#options = options;
  }

  /** Says which hosts are in view, in the order in which to read their steps. */
  show(hosts: readonly number[]): void {
    this.#shown = hosts;
    void this.#readAll();
  }

  /** Reads what is missing, also what could not be read before. */
  read(): void {
    this.error = undefined;
    void this.#readAll();
  }

  /** Like `read`, but doesn't wait where a failed reading is to be retried after a pause. */
  readAtOnce(): void {
    this.#pausing?.abort();
    this.read();
  }

  /** Must be told of each change of a step. */
  changed(change: StepChange): void {
    if (this.#isReading) this.#meanwhile.set(change.id, { ...this.#meanwhile.get(change.id), ...change });
  }

  forget(targetRunId: number): void {
    if (this.#read.delete(targetRunId)) this.#options.hosts.dropSteps(targetRunId);
  }

  /** Ignores what is being read: the run is read anew. */
  ignoreAnswers(): void {
    this.#runReading += 1;
  }

  stop(): void {
    this.#pausing?.abort();
  }

  /** Reads steps until all hosts in view have theirs, including hosts that come into view meanwhile. */
  async #readAll(): Promise<void> {
    const { hosts, signal, isNeeded } = this.#options;
    // A permanent failure is retried when somebody asks for it, not with each redraw.
    if (this.#isReading || !isNeeded() || this.error !== undefined) return;
    this.#isReading = true;
    try {
      for (let failures = 0; !signal.aborted && isNeeded(); ) {
        const missing = this.#shown.filter((id) => hosts.has(id) && !this.#read.has(id));
        if (missing.length === 0) {
          this.error = undefined;
          return;
        }
        try {
          await this.#readOf(missing.slice(0, maxHostsAsked));
          failures = 0;
          this.error = undefined;
        } catch (error) {
          if (signal.aborted) return;
          const failed = failureOf(error);
          failed.asksAgain = isPassing(failed);
          if (!failed.asksAgain || failures >= failuresUntold) this.error = failed;
          if (!failed.asksAgain) return;
          this.#pausing = new AbortController();
          await pause(pauseMs(failures), this.#pausing.signal);
          this.#pausing = undefined;
          failures += 1;
        }
      }
    } finally {
      this.#meanwhile.clear();
      this.#isReading = false;
    }
  }

  async #readOf(ids: readonly number[]): Promise<void> {
    const { runId, hosts, signal } = this.#options;
    const runReading = this.#runReading;
    this.#meanwhile.clear();
    const steps = await fetchStepsOf(runId, ids, signal);
    if (runReading !== this.#runReading) return;
    for (const id of ids) {
      this.#read.add(id);
      hosts.dropSteps(id);
    }
    for (const step of steps) hosts.setStep({ ...step, ...this.#meanwhile.get(step.id) } as Step);
    this.#forgetUnseen();
    hosts.drawSoon();
  }

  /** Drops steps of hosts out of view, those read first, down to the limit. They are read again when needed. */
  #forgetUnseen(): void {
    const most = Math.ceil(maxStepsKept / Math.max(1, this.#options.stepsPerHost()));
    const shown = new Set(this.#shown);
    for (const id of this.#read) {
      if (this.#read.size <= most) return;
      if (!shown.has(id)) this.forget(id);
    }
  }
}
