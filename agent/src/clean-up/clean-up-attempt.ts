// After an agent was cut off: ends the processes that an attempt left on its target, and removes its files there.
import type { AgentMessageOf } from '@opsconductor/protocol';
import { detachedLeader, removeAllDetached } from '../detached/clean-up-detached.ts';
import { stopNote } from '../detached/supervisor-script.ts';
import { endProcesses } from '../ssh/processes/end-processes.ts';
import { attemptProcesses, listProcesses, type RemoteProcess } from '../ssh/processes/remote-processes.ts';
import type { ScriptTarget } from '../ssh/run-script.ts';

export type Found = Pick<AgentMessageOf<'cleaned_up'>['results'][number], 'found' | 'survivors'>;

export interface CleanUpTimes {
  /** Time between TERM and KILL, in ms. */
  graceMs: number;
  /** Time between the first KILL and giving up, in ms. */
  killMs: number;
}

/**
 * Cleans up after the attempt with this marker. Rejects if the target can't be asked.
 *
 * @param how `keepsOutput`: keeps what the command has written, for the agent that will collect it
 */
export async function cleanUpAttempt(
  target: ScriptTarget,
  marker: string,
  { keepsOutput = false, ...times }: CleanUpTimes & { keepsOutput?: boolean },
): Promise<Found> {
  const leader = await detachedLeader(target, marker);
  const command = {
    target,
    leader: () => leader,
    note: stopNote(marker, 'clean_up'),
    list: async (seen: readonly RemoteProcess[]) =>
      attemptProcesses(await listProcesses(target, marker), leader, false, seen),
  };
  const supervisor = {
    target,
    leader: () => undefined,
    list: async (seen: readonly RemoteProcess[]) => {
      const table = await listProcesses(target, marker, 'OPSCONDUCTOR_SUPERVISOR');
      return attemptProcesses(table, undefined, false, seen);
    },
  };
  const first = await endProcesses(command, times);
  // The supervisor ends after its command, unless a process that can't be seen holds the output.
  const watching = await endProcesses(supervisor, {
    graceMs: 0,
    killMs: times.killMs,
    ...(keepsOutput ? { waitMs: times.killMs } : {}),
  });
  // A supervisor that was about to start the command has done so by now, or never will, so look once more.
  const last = watching.found ? await endProcesses(command, { graceMs: 0, killMs: times.killMs }) : first;
  const survivors = [...last.survivors, ...watching.survivors];
  if (survivors.length > 0) return { found: 'survivors', survivors: survivors.slice(0, 100).map(told) };
  if (!keepsOutput) await removeAllDetached(target, marker);
  return { found: first.found || last.found ? 'ended' : 'nothing' };
}

function told({ pid, command }: RemoteProcess): { pid: number; command: string } {
  return { pid, command: command.slice(0, 512) };
}
