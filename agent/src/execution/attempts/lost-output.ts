// Tells people about output that the agent's disk refused. Without this it would look as if a limit had cut the output.
import type { StepOutcome } from '@opsconductor/protocol';
import type { AttemptOutput } from '../../spool/attempt-output.ts';

/** Returns the outcome, with a note if output could not be kept. How the command ended stays as it is. */
export function tellLostOutput(
  outcome: StepOutcome,
  { failure, gaps }: Pick<AttemptOutput, 'failure' | 'gaps'>,
): StepOutcome {
  if (gaps.length > 0) return tellMissing(outcome);
  if (failure === undefined) return outcome;
  const { code = failure.message } = failure as NodeJS.ErrnoException;
  const lost = `The agent could not keep all of the output: its disk refused it (${code}).`;
  return withLoss(outcome, lost);
}

/** Returns the outcome, with a note that the server lacks output that is not here any more either. */
export function tellMissing(outcome: StepOutcome): StepOutcome {
  return withLoss(
    outcome,
    'The server no longer has output that it had confirmed, as after a restore from a backup, and the agent had removed that from its disk, which was nearly full.',
  );
}

/** Returns the outcome with what is said about the loss. */
export function withLoss(outcome: StepOutcome, lost: string): StepOutcome {
  const { message, advice } = outcome;
  return {
    ...outcome,
    message: (message === undefined ? lost : `${message} ${lost}`).slice(0, 2_000),
    advice: advice ?? "Look at the disk that holds the agent's data directory.",
  };
}
