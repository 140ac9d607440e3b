// Agents' words on an outcome, as they are stored and shown.
import type { StepOutcome } from '@opsconductor/protocol';

/** Agents' text as PostgreSQL takes it: well-formed and without NUL. */
export function cleanText(text: string | undefined): string | null {
  return text === undefined ? null : text.toWellFormed().replaceAll('\0', '\ufffd');
}

type Told = Partial<Pick<StepOutcome, 'message' | 'exitCode' | 'reason'>>;

/** What happened, in as few words as it was told. */
export function outcomeText(outcome: Told & { status?: string }): string {
  return (
    cleanText(outcome.message) ??
    (outcome.exitCode === undefined
      ? (outcome.reason ?? outcome.status ?? '')
      : `exit code ${outcome.exitCode}`)
  );
}

/** What a run says that ends badly because of a step. */
export function runError(targetName: string, stepNumber: number, outcome: Told & { status: string }): string {
  return `${targetName}, step ${stepNumber}: ${outcomeText(outcome)}`;
}
