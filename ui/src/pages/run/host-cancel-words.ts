// Wording about the cancel of one host of a run.
import { isRunEnded, type RunStatus, type Step, type TargetRun } from '@opsconductor/protocol';
import { moment } from '../../format/moment.ts';
import { statusWord } from '../../format/status.ts';

type Cancelled = Pick<TargetRun, 'status' | 'cancelRequestedAt' | 'cancelRequestedBy'>;

/** What can be asked of a host: to cancel it, to force that, or to stop what may still be running of it. */
export type HostCancel = 'cancel' | 'force' | 'stop';

/** Steps with these reasons were given up, without a word of how they ended. */
const givenUp: ReadonlySet<Step['reason']> = new Set([
  'agent_silent',
  'agent_revoked',
  'agent_restarted',
  'cancel_unconfirmed',
  'database_restored',
]);

/** What can be asked of a host; undefined for nothing, as of one that has ended and told how. */
export function hostCancel(
  { targetRun, steps }: { targetRun: Cancelled; steps: readonly Pick<Step, 'status' | 'reason'>[] },
  run: { status: RunStatus },
): HostCancel | undefined {
  if (isRunEnded(run.status)) return undefined;
  if (!isRunEnded(targetRun.status)) return targetRun.status === 'cancelling' ? 'force' : 'cancel';
  // Of a run that has ended, all that may still be running is stopped together.
  if (targetRun.status !== 'unknown' || (targetRun.cancelRequestedAt ?? null) !== null) return undefined;
  return steps.some(({ status, reason }) => status === 'unknown' && givenUp.has(reason)) ? 'stop' : undefined;
}

/** What the question says, and mostly its button. */
export function hostCancelTitle(what: HostCancel, name: string): string {
  if (what === 'stop') return `Stop what may still be running on ${name}`;
  return what === 'force' ? `Force-cancel ${name}` : `Cancel ${name}`;
}

/** What the button says that asks. */
export const hostCancelButtons: Record<HostCancel, string> = {
  cancel: 'Cancel host…',
  force: 'Force cancel…',
  stop: 'Stop what may run…',
};
/** What its key does. */
export const hostCancelKeys: Record<HostCancel, string> = {
  cancel: 'cancel the host (asks)',
  force: 'force the host’s cancel (asks)',
  stop: 'stop what may still be running on the host (asks)',
};

/** What cancelling a host does, sentence by sentence, leaving out what doesn't apply. */
export function hostCancelWords(steps: readonly Pick<Step, 'status'>[]): string[] {
  const has = (status: Step['status']) => steps.some((step) => step.status === status);
  return [
    ...(has('running')
      ? ['The step that runs is stopped with TERM, then KILL. If that can’t be confirmed, it ends unknown.']
      : []),
    ...(has('held') ? ['The step that waits for a decision ends unknown: nobody is asked any more.'] : []),
    'Steps that have not begun are cancelled; clean-up steps run if anything had begun here.',
    'The rest of the run goes on. A cancelled host is no failure for the run’s limits.',
  ];
}

/** What stopping what may still be running on a host does, sentence by sentence. */
export const stopHostWords = [
  'Its step was given up, and no agent has reported how it ended: what was started may still be running.',
  'Agents are told to stop what is still running, and to look on the host for what is left. What they find is added to the attempt.',
  'The host stays unknown unless an agent reports how the step ended. The rest of the run goes on.',
];

export const forceHostCancelWords = [
  'What was given to an agent on this host ends unknown at once: no agent is waited for, so it isn’t known whether it was stopped.',
  'Agents are still told to stop, and what they report is added to the attempts.',
  'No clean-up step runs on this host. The rest of the run goes on.',
];

/** For a host that was cancelled by itself: who asked for it, when, and what came of it. */
export function hostCancelNote(
  host: Cancelled,
  now: number,
): { lead: string; text: string; state: RunStatus } | undefined {
  const { status, cancelRequestedAt: at, cancelRequestedBy: by } = host;
  if (at === undefined || at === null) return undefined;
  const who = `${by ?? 'A user who has been deleted'} asked for it at ${moment(at, now)}.`;
  if (!isRunEnded(status))
    return {
      lead: 'Host is being cancelled.',
      text: `${who} It ends when its agent confirms that the step was stopped.`,
      state: 'cancelling',
    };
  if (status === 'cancelled') return { lead: 'Host cancelled.', text: who, state: 'cancelled' };
  return { lead: 'Cancel of this host.', text: `${who} It ended ${statusWord(status)}.`, state: status };
}
