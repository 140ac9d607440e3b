// The attempts of a step in words: how each one ended, what came after it, and what it left on the target.
import type { Attempt } from '@opsconductor/protocol';
import { cellDuration } from '../../../format/duration.ts';
import { moment } from '../../../format/moment.ts';
import { counted } from '../../../format/quantity.ts';
import { reasonWord, statusWord } from '../../../format/status.ts';
import { decidedWords } from '../decision/decision-words.ts';
import { attemptsOf } from './attempt-numbers.ts';

/** How it ended, in a few characters: `exit 5`, `agent silent`, `18 s`. */
export function attemptText(attempt: Attempt): string {
  switch (attempt.status) {
    case 'running':
      return 'running';
    case 'succeeded':
      return attempt.executionTimeMs === null ? 'succeeded' : cellDuration(attempt.executionTimeMs);
    case 'failed':
      if (attempt.signal !== null) return attempt.signal;
      if (attempt.exitCode !== null) return `exit ${attempt.exitCode}`;
      return attempt.reason === null ? 'failed' : reasonWord(attempt.reason);
    default:
      return attempt.reason === null || attempt.reason === attempt.status
        ? statusWord(attempt.status)
        : reasonWord(attempt.reason);
  }
}

/** What else there is to know about an attempt, one sentence each; empty if nothing followed. */
export function attemptFacts(attempt: Attempt, now: number): string[] {
  return [lateWords(attempt, now), decisionWords(attempt, now), cleanUpWords(attempt, now)].filter(
    (words) => words !== undefined,
  );
}

function lateWords({ late }: Attempt, now: number): string | undefined {
  if (late === null) return undefined;
  return `Its agent reported ${statusWord(late.status)} at ${moment(late.at, now)}, after the attempt had been given up.`;
}

function decisionWords({ decision }: Attempt, now: number): string | undefined {
  if (decision === null) return undefined;
  const { by, at, note } = decision;
  return `${by} decided at ${moment(at, now)} that ${decidedWords[decision.decision]}: “${note}”`;
}

function cleanUpWords({ cleanUp }: Attempt, now: number): string | undefined {
  if (cleanUp === null) return undefined;
  const when = cleanUp.at === null ? '' : ` at ${moment(cleanUp.at, now)}`;
  switch (cleanUp.state) {
    case 'waits':
      if (cleanUp.due !== undefined && Date.parse(cleanUp.due) <= now) {
        return 'An agent will look for what it left on the host as soon as one in the segment can.';
      }
      return `An agent will look for what it left on the host when the attempt’s time is up${cleanUp.due === undefined ? '' : `, at ${moment(cleanUp.due, now)}`}; at once if the run is cancelled or the step is run again.`;
    case 'asked':
      return 'An agent is looking for what it left on the host.';
    case 'done':
      switch (cleanUp.found) {
        case 'ended':
          return `An agent found it still running on the host${when} and ended it.`;
        case 'survivors':
          return `An agent could not end what it left on the host${when}: ${counted(cleanUp.survivors.length, 'process is', 'processes are')} still alive.`;
        case 'unreachable':
          return `An agent could not reach the host${when} to look for what it left.`;
        default:
          return `An agent found nothing left of it on the host${when}.`;
      }
  }
}

/** Processes that outlived the attempt, as last seen. */
export function survivorsOf(attempt: Attempt): Attempt['survivors'] {
  const { cleanUp } = attempt;
  if (cleanUp?.state !== 'done' || cleanUp.found === 'unreachable') return attempt.survivors;
  return cleanUp.survivors;
}

/** Returns whether a step's attempts say more than the step itself. */
export function wantsAttempts(step: {
  attempt: number;
  attempts?: number;
  status: string;
  reason: string | null;
}): boolean {
  if (attemptsOf(step) === 0) return false;
  return (
    attemptsOf(step) > 1 ||
    step.reason === 'decided' ||
    ['held', 'unknown', 'cancelled', 'timed_out', 'ready'].includes(step.status)
  );
}
