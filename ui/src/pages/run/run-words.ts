// Wording about whole runs.
import {
  isRunEnded,
  type RerunChoice,
  type Run,
  type RunDetail,
  type RunStatus,
} from '@opsconductor/protocol';
import { counted } from '../../format/quantity.ts';
import { statusWord } from '../../format/status.ts';

/**
 * What to call the message of a run, which is that of its first failure: while the run goes on, if it ended well in
 * spite of it, or if a person cancelled it, its status has nothing to do with it.
 */
export function errorLead(status: RunStatus): { lead: string; state: RunStatus } {
  return isRunEnded(status) && !['succeeded', 'partial', 'cancelled'].includes(status)
    ? { lead: statusWord(status), state: status }
    : { lead: 'First failure', state: 'failed' };
}

/** What cancelling a run does, leaving out what doesn't apply. */
export function cancelWords(run: Pick<Run, 'targetsRunning' | 'targetsQueued'>): string {
  const parts: string[] = [];
  if (run.targetsRunning > 0) {
    parts.push(`Steps running on ${counted(run.targetsRunning, 'host')} are stopped with TERM, then KILL.`);
  }
  if (run.targetsQueued > 0) {
    parts.push(`${counted(run.targetsQueued, 'host is', 'hosts are')} still queued and will not start.`);
  }
  parts.push('Steps that have ended stay as they are.');
  return parts.join(' ');
}

type Open = Pick<Run, 'targetsRunning' | 'targetsQueued' | 'targetsHeld'>;

/** What forcing a cancel does, sentence by sentence: first what becomes unknown. */
export function forceCancelWords(run: Open & { stopping?: number }): string[] {
  const begun = run.targetsRunning + (run.targetsHeld ?? 0) + (run.stopping ?? 0);
  return [
    begun > 0
      ? `What was given to an agent on ${counted(begun, 'host')} ends unknown at once: no agent is waited for, so it isn’t known whether it was stopped.`
      : 'What was given to an agent ends unknown at once: no agent is waited for, so it isn’t known whether it was stopped.',
    'Agents are still told to stop, and what they report is added to the attempts.',
    'No clean-up step runs. What has not started ends cancelled.',
  ];
}

type Untold = Pick<RunDetail, 'untoldAttempts' | 'cancelRequestedAt'>;

/** Returns whether an ended run has something that may still be running and that nobody has asked to stop. */
export function mayStillRun({ untoldAttempts = 0, cancelRequestedAt }: Untold): boolean {
  return untoldAttempts > 0 && cancelRequestedAt === null;
}

/** For an ended run: what of it may still be running; undefined for nothing. */
export function untoldWords({ untoldAttempts = 0, cancelRequestedAt }: Untold): string | undefined {
  if (untoldAttempts === 0) return undefined;
  const given = `${counted(untoldAttempts, 'attempt was', 'attempts were')} given up, and no agent has reported how ${untoldAttempts === 1 ? 'it' : 'they'} ended`;
  return cancelRequestedAt === null
    ? `${given}: what was started may still be running.`
    : `${given} yet. Agents are still being told to stop what may still be running.`;
}

/** What stopping that does, sentence by sentence. */
export const stopUntoldWords = [
  'Agents are told to stop what is still running of it, and to look on the targets for what is left.',
  'The run keeps its outcome; what is found is added to the attempts.',
];

/** Returns how many hosts of an ended run each choice runs on again; 0 if it isn't available. */
export function rerunHosts(
  run: Pick<
    Run,
    'targetsTotal' | 'targetsFailed' | 'targetsTimedOut' | 'targetsUnknown' | 'targetsSucceeded'
  >,
): Record<RerunChoice, number> {
  return {
    failed: run.targetsFailed + run.targetsTimedOut,
    unknown: run.targetsUnknown,
    not_succeeded: run.targetsTotal - run.targetsSucceeded,
    all: run.targetsTotal,
  };
}

export const rerunWords: Record<RerunChoice, string> = {
  failed: 'failed or timed out',
  unknown: 'unknown',
  not_succeeded: 'not succeeded',
  all: 'all hosts',
};

/** Which hosts each of them means. */
export const isRerun: Record<RerunChoice, (status: RunStatus) => boolean> = {
  failed: (status) => status === 'failed' || status === 'timed_out',
  unknown: (status) => status === 'unknown',
  not_succeeded: (status) => status !== 'succeeded',
  all: () => true,
};

/** Returns the choice that a person most likely wants: the failed hosts, otherwise all that didn't succeed. */
export function likelyRerun(hosts: Record<RerunChoice, number>): RerunChoice {
  if (hosts.failed > 0) return 'failed';
  return hosts.not_succeeded > 0 ? 'not_succeeded' : 'all';
}

/** How far a cancel has come. */
export function cancellingWords(stopping: number): string {
  return stopping === 0
    ? 'Nothing is left to stop.'
    : `${counted(stopping, 'host has', 'hosts have')} not confirmed yet. Each ends when its agent confirms; a host whose stop can’t be confirmed ends unknown.`;
}
