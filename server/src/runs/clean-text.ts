// Texts that agents send about an outcome, as they are stored and shown.
import type { StepOutcome } from '@opsconductor/protocol';

/** Returns an agent's text in a form that PostgreSQL accepts: well-formed and without NUL. */
export function cleanText(text: string | null | undefined): string | null {
  return text == null ? null : text.toWellFormed().replaceAll('\0', '\ufffd');
}

/** Of an outcome, or of the row that is kept of it. */
type Told = { [Key in 'message' | 'exitCode' | 'reason']?: StepOutcome[Key] | null };

/** Returns what happened in a few words: the message, else the exit code, else the reason. */
export function outcomeText(outcome: Told & { status?: string }): string {
  return (
    cleanText(outcome.message) ??
    (outcome.exitCode == null ? (outcome.reason ?? outcome.status ?? '') : `exit code ${outcome.exitCode}`)
  );
}

/** Returns the error message of a run that ends badly because of a step. */
export function runError(targetName: string, stepNumber: number, outcome: Told & { status: string }): string {
  return `${targetName}, step ${stepNumber}: ${outcomeText(outcome)}`;
}
