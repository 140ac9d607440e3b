// Ends an attempt on its target (TERM, grace period, KILL) and then checks whether anything of it is left.
import { endProcesses, type ProcessFamily } from '../../ssh/processes/end-processes.ts';
import { attemptProcesses, listProcesses, type RemoteProcess } from '../../ssh/processes/remote-processes.ts';
import type { ScriptTarget } from '../../ssh/run-script.ts';
import { within } from '../../timing/within.ts';
import type { StopRequest } from '../step-type.ts';
import type { CommandEnd, RunningCommand } from './command-on-channel.ts';

export interface StopResult {
  /** Whether it was seen that nothing of the attempt is left. */
  confirmed: boolean;
  /** Processes that are left after KILL. */
  survivors: RemoteProcess[];
  /** Why it could not be confirmed. */
  why?: string;
  /** How the command ended, if it did. */
  end: CommandEnd | undefined;
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
export async function stopCommand(
  command: RunningCommand,
  { cause, killGraceMs }: StopRequest,
  { marker, target, limits }: { marker: string; target: ScriptTarget; limits: StopLimits },
): Promise<StopResult> {
  command.stopBlocking();
  let end: CommandEnd | undefined;
  command.ended.then((value) => {
    end = value;
  });
  try {
    const report = await within(limits.reportMs, command.reported);
    if (!report && !end) {
      // A shell that has not reported may still start the command, so finding no processes would prove nothing.
      return { confirmed: false, survivors: [], why: 'the login shell never reached the command', end };
    }
    const family = familyOf(command, marker, target, cause);
    const times = { graceMs: killGraceMs, killMs: limits.killMs };
    const { survivors } = await endProcesses(family, times);
    if (survivors.length > 0) return { confirmed: false, survivors, why: 'processes survived KILL', end };
    await within(limits.closeMs, command.ended);
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
    command.close();
  }
}

function familyOf(
  command: RunningCommand,
  marker: string,
  target: ScriptTarget,
  cause: StopRequest['cause'],
): ProcessFamily {
  const leader = () => (command.report?.kind === 'started' ? command.report.pid : undefined);
  return {
    target,
    leader,
    note: command.stopNote?.(marker, cause),
    list: async (seen) => {
      const table = await listProcesses(target, marker);
      return attemptProcesses(table, leader(), !command.exited && !command.over, seen);
    },
    news: () => (command.over ? undefined : command.ended),
  };
}
