// What a step's cell and its output pane say of it.
import type { Step } from '@opsconductor/protocol';
import { cellDuration, clockDuration } from '../../format/duration.ts';
import { reasonWord, statusWord } from '../../format/status.ts';

/** The figure or word in a matrix cell, beside the glyph. */
export function cellText(step: Step, now: number): string {
  switch (step.status) {
    case 'succeeded':
    case 'timed_out':
    case 'cancelled':
      return tookText(step);
    case 'running':
      // A clock of whole seconds: tenths would jump by whatever passed between two ticks.
      return step.startedAt === null ? 'starting' : clockDuration(now - Date.parse(step.startedAt));
    case 'failed':
      return shortReason(step);
    case 'unknown':
      return step.reason === 'agent_silent' ? 'silent' : 'unknown';
    case 'held':
      return 'held';
    default:
      return '';
  }
}

/** How long it took; nothing for a step that never began. */
function tookText(step: Step): string {
  if (step.executionTimeMs !== null) return cellDuration(step.executionTimeMs);
  if (step.startedAt === null || step.completedAt === null) return '';
  return cellDuration(Date.parse(step.completedAt) - Date.parse(step.startedAt));
}

/** The accessible name of a cell: `apply: failed, exit 5`. */
export function cellLabel(step: Step, now: number): string {
  const text = cellText(step, now);
  const word = statusWord(step.status);
  return `${step.name}: ${text === '' || text === word ? word : `${word}, ${text}`}`;
}

/** Why a step did not end well, in a few characters. */
export function shortReason(step: Step): string {
  if (step.signal !== null) return step.signal;
  if (step.exitCode !== null) return `exit ${step.exitCode}`;
  return step.reason === null ? 'failed' : reasonWord(step.reason);
}

export interface StepNote {
  state: string;
  /** What is the case. */
  lead: string;
  text: string;
}

/** What a reader has to know about a step before its output; undefined when the output says it all. */
export function stepNote(step: Step, more: { segment: string }): StepNote | undefined {
  const message = [step.errorMessage, step.advice].filter((part) => part !== null && part !== '').join(' ');
  switch (step.status) {
    case 'failed':
      return { state: 'failed', lead: step.errorMessage ?? failureLead(step), text: step.advice ?? '' };
    case 'timed_out':
      return { state: 'timed_out', lead: 'Stopped at its time limit.', text: message };
    case 'unknown':
    case 'held':
      return {
        state: step.status,
        lead: 'What happened on the host isn’t known.',
        text: `${message === '' ? 'The agent was cut off while the step ran. It may have finished, stopped half way, or still be running.' : message} Nothing has been run again. If the agent comes back, what it reports is added here.`,
      };
    case 'cancelled':
      return { state: 'cancelled', lead: 'Cancelled.', text: message };
    case 'skipped':
      return {
        state: 'skipped',
        lead: 'Skipped.',
        text: message === '' ? 'A step before it did not end well.' : message,
      };
    case 'pending':
      return { state: 'pending', lead: 'Not started.', text: 'It waits for the step before it.' };
    case 'ready':
      return {
        state: 'ready',
        lead: 'Ready.',
        text: `It waits for a free slot of an agent in ${more.segment}.`,
      };
    default:
      return undefined;
  }
}

function failureLead(step: Step): string {
  if (step.signal !== null) return `Ended by signal ${step.signal}.`;
  if (step.exitCode !== null) return `Ended with exit code ${step.exitCode}.`;
  const reason = step.reason === null ? 'failed' : reasonWord(step.reason);
  return `${reason.charAt(0).toUpperCase()}${reason.slice(1)}.`;
}
