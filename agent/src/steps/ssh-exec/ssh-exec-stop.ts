// Ends an attempt on its target (TERM, grace period, KILL) and then checks whether anything of it is left.
import { endProcesses, type ProcessFamily } from '../../ssh/processes/end-processes.ts';
import { attemptProcesses, listProcesses, type RemoteProcess } from '../../ssh/processes/remote-processes.ts';
import type { ScriptTarget } from '../../ssh/run-script.ts';
import { within } from '../../timing/within.ts';
import type { StopRequest } from '../step-type.ts';
import type { AttemptEnd, RunningCommand } from './ssh-exec-attempt.ts';

export interface StopResult {
  /** Whether it was seen that nothing of the attempt is left. */
  confirmed: boolean;
  /** Processes that are left after KILL. */
  survivors: RemoteProcess[];
  /** Why it could not be confirmed. */
  why?: string;
  /** How the command ended, if it did. */
  end: AttemptEnd | undefined;
}

export interface StopLimits {
  /** Time for the bootstrap to report its pid, if it hasn't yet, in ms. */
  reportMs: number;
  /** Time for the channel to close once no process is left, in ms. */
  closeMs: number;
  /** Time between the first KILL and giving up on processes that survive it, in ms. */
  killMs: number;
}

export const stopLimits: StopLimits = { reportMs: 5000, closeMs: 5000, killMs: 5000 };

/** Ends the attempt's processes and says whether that was confirmed. Never rejects; a failure is part of the result. */
export async function stopAttempt(
  attempt: RunningCommand,
  marker: string,
  target: ScriptTarget,
  { cause, killGraceMs }: StopRequest,
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
      // A shell that has not reported may still start the command, so finding no processes would prove nothing.
      return { confirmed: false, survivors: [], why: 'the login shell never reached the command', end };
    }
    const family = familyOf(attempt, marker, target, cause);
    const times = { graceMs: killGraceMs, killMs: limits.killMs };
    const { survivors } = await endProcesses(family, times);
    if (survivors.length > 0) return { confirmed: false, survivors, why: 'processes survived KILL', end };
    await within(limits.closeMs, attempt.ended);
    if (!end)
      return {
        confirmed: false,
        survivors,
        why: 'a process that can’t be seen holds its output open',
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

function familyOf(
  attempt: RunningCommand,
  marker: string,
  target: ScriptTarget,
  cause: StopRequest['cause'],
): ProcessFamily {
  const leader = () => (attempt.report?.kind === 'started' ? attempt.report.pid : undefined);
  return {
    target,
    leader,
    note: attempt.stopNote?.(marker, cause),
    list: async (seen) => {
      const table = await listProcesses(target, marker);
      return attemptProcesses(table, leader(), !attempt.exited && !attempt.over, seen);
    },
    news: () => (attempt.over ? undefined : attempt.ended),
  };
}
