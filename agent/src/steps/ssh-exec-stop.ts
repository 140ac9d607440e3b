// Ends an attempt on its target: TERM, grace, KILL, and then looks whether anything of it is still there.
import {
  attemptProcesses,
  listProcesses,
  type RemoteProcess,
  signalProcesses,
} from '../ssh/remote-processes.ts';
import type { StopTarget } from '../ssh/run-script.ts';
import type { AttemptEnd, RunningCommand } from './ssh-exec-attempt.ts';

export interface StopResult {
  /** Whether it was seen that nothing of the attempt is left. */
  confirmed: boolean;
  /** What is left after KILL. */
  survivors: RemoteProcess[];
  /** Why it could not be confirmed. */
  why?: string;
  /** How the channel ended, where it did. */
  end: AttemptEnd | undefined;
}

export interface StopLimits {
  /** For the bootstrap to report its pid, where it had not yet, in ms. */
  reportMs: number;
  /** For the channel to close once no process is left, in ms. */
  closeMs: number;
  /** Between the first KILL and giving up on what survives it, in ms. */
  killMs: number;
}

export const stopLimits: StopLimits = { reportMs: 5000, closeMs: 5000, killMs: 5000 };

/** Never rejects: what went wrong is in the result. */
export async function stopAttempt(
  attempt: RunningCommand,
  marker: string,
  target: StopTarget,
  killGraceMs: number,
  limits: StopLimits,
): Promise<StopResult> {
  attempt.stopBlocking();
  let end: AttemptEnd | undefined;
  attempt.ended.then((value) => {
    end = value;
  });
  try {
    const report = await within(limits.reportMs, attempt.reported);
    if (!report && !end) {
      // A shell that has not reported may still start the command, so an empty table would prove nothing.
      return { confirmed: false, survivors: [], why: 'the login shell never got as far as the command', end };
    }
    const family = new Family(attempt, marker, target);
    const survivors = await family.end(killGraceMs, limits.killMs);
    if (survivors.length > 0) return { confirmed: false, survivors, why: 'processes survived KILL', end };
    await within(limits.closeMs, attempt.ended);
    if (!end)
      return {
        confirmed: false,
        survivors,
        why: 'something that can not be seen holds its output open',
        end,
      };
    return { confirmed: true, survivors, end };
  } catch (error) {
    return {
      confirmed: false,
      survivors: [],
      why: error instanceof Error ? error.message : String(error),
      end,
    };
  } finally {
    attempt.close();
  }
}

class Family {
  readonly #attempt: RunningCommand;
  readonly #marker: string;
  readonly #target: StopTarget;

  constructor(attempt: RunningCommand, marker: string, target: StopTarget) {
    this.#attempt = attempt;
    this.#marker = marker;
    this.#target = target;
  }

  /** Resolves with what survives. */
  async end(killGraceMs: number, killMs: number): Promise<RemoteProcess[]> {
    let living = await this.#list();
    if (living.length > 0 && killGraceMs > 0) {
      await this.#signal('TERM', living);
      living = await this.#watch(killGraceMs, () => Promise.resolve());
    }
    if (living.length === 0) return [];
    await this.#signal('KILL', living);
    return await this.#watch(killMs, (found) => this.#signal('KILL', found));
  }

  /** Looks again until nothing is left or the time is up; the channel's end makes it look at once. */
  async #watch(ms: number, each: (living: RemoteProcess[]) => Promise<void>): Promise<RemoteProcess[]> {
    const deadline = performance.now() + ms;
    for (let pauseMs = 20; ; pauseMs = Math.min(pauseMs * 2, 1000)) {
      const left = deadline - performance.now();
      await within(
        Math.max(0, Math.min(pauseMs, left)),
        this.#attempt.over ? undefined : this.#attempt.ended,
      );
      const living = await this.#list();
      if (living.length === 0 || performance.now() >= deadline) return living;
      await each(living);
    }
  }

  async #list(): Promise<RemoteProcess[]> {
    const table = await listProcesses(this.#target, this.#marker);
    return attemptProcesses(table, this.#leader, !this.#attempt.exited && !this.#attempt.over);
  }

  async #signal(signal: 'TERM' | 'KILL', living: RemoteProcess[]): Promise<void> {
    const leader = this.#leader;
    // The group is named too, so that a process forked meanwhile is reached.
    const group = living.some(({ groupId }) => groupId === leader) ? leader : undefined;
    await signalProcesses(
      this.#target,
      signal,
      living.map(({ pid }) => pid),
      group,
    );
  }

  get #leader(): number | undefined {
    const { report } = this.#attempt;
    return report?.kind === 'started' ? report.pid : undefined;
  }
}

/** The promise's value, or undefined when the time is up first. Without a promise it only waits. */
function within<T>(ms: number, promise: Promise<T> | undefined): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => resolve(undefined), ms);
    promise?.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
