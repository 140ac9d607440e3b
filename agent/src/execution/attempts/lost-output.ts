// What a person is told of output that the agent's disk refused: that it was cut reads like a limit that was reached.
import type { StepOutcome } from '@opsconductor/protocol';

/** The outcome, saying so where the output could not be kept. How the command ended stays as it is. */
export function tellLostOutput(outcome: StepOutcome, failure: Error | undefined): StepOutcome {
  if (failure === undefined) return outcome;
  const { code = failure.message } = failure as NodeJS.ErrnoException;
  const lost = `The agent could not keep all of the output: its disk refused it (${code}).`;
  const { message, advice } = outcome;
  return {
    ...outcome,
    message: (message === undefined ? lost : `${message} ${lost}`).slice(0, 2_000),
    advice: advice ?? "Look at the disk that holds the agent's data directory.",
  };
}
