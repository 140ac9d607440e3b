// Wording about the cancel of one host of a run.
import { isRunEnded, type RunStatus, type Step, type TargetRun } from '@opsconductor/protocol';
import { moment } from '../../format/moment.ts';
import { statusWord } from '../../format/status.ts';

type Cancelled = Pick<TargetRun, 'status' | 'cancelRequestedAt' | 'cancelRequestedBy'>;

/** What can be asked of a host: to cancel it, or to force that; undefined once it has ended. */
export function hostCancel(host: Pick<TargetRun, 'status'>, run: { status: RunStatus }) {
  if (isRunEnded(host.status) || isRunEnded(run.status)) return undefined;
  return host.status === 'cancelling' ? 'force' : 'cancel';
}

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
