// Tells people about output that the agent's disk refused. Without this it would look as if a limit had cut the output.
import type { StepOutcome } from '@opsconductor/protocol';

/** Returns the outcome, with a note if the output could not be kept. How the command ended stays as it is. */
export function tellLostOutput(outcome: StepOutcome, failure: Error | undefined): StepOutcome {
  if (failure === undefined) return outcome;
  const { code = failure.message } = failure as NodeJS.ErrnoException;
  const lost = `The agent could not keep all of the output: its disk refused it (${code}).`;
  return withLoss(outcome, lost);
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
