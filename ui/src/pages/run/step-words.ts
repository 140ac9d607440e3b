// What a step's cell and its output pane say about it.
import type { OutputState, Step, StepStatus, Wait } from '@opsconductor/protocol';
import { cellDuration, clockDuration, longDuration } from '../../format/duration.ts';
import { moment, until } from '../../format/moment.ts';
import { byteSize } from '../../format/quantity.ts';
import { reasonWord, statusWord } from '../../format/status.ts';
import { attemptsOf } from './attempts/attempt-numbers.ts';

/** The status whose shape and color a step gets: a step held after an unknown attempt is shown as unknown. */
export function stepLook({ status, attempt }: Pick<Step, 'status' | 'attempt'>): StepStatus {
  return status === 'held' && attempt > 0 ? 'unknown' : status;
}

/** When a waiting step is tried again; undefined if it isn't. */
export function nextTryAt(step: Step): number | undefined {
  const { status, notBefore } = step;
  if (status !== 'ready' || attemptsOf(step) === 0 || notBefore === undefined || notBefore === null)
    return undefined;
  return Date.parse(notBefore);
}

/** The figure or word in a matrix cell, beside the glyph. */
export function cellText(step: Step, now: number): string {
  switch (step.status) {
    case 'succeeded':
    case 'timed_out':
    case 'cancelled':
      return tookText(step);
    case 'running':
      // Show whole seconds: tenths would jump by whatever time passed between two ticks.
      return step.startedAt === null ? 'starting' : clockDuration(now - Date.parse(step.startedAt));
    case 'failed':
      return shortReason(step);
    case 'unknown':
      return 'unknown';
    case 'held':
      return 'held';
    case 'ready': {
      const at = nextTryAt(step);
      if (at === undefined) return '';
      return at <= now ? 'retry' : `in ${clockDuration(at - now)}`;
    }
    default:
      return '';
  }
}

/** How a step has ended, below its output: `failed, exit 5, 1.2 s`. Its cell has no room for both. */
export function endText(step: Step, now: number): string {
  const word = step.status === 'held' ? 'unknown' : statusWord(step.status);
  const text = cellText(step, now);
  const parts = [word, ...(text === '' || text === word ? [] : [text])];
  const took = step.status === 'failed' && step.executionTimeMs !== null ? tookText(step) : '';
  return [...parts, ...(took === '' ? [] : [took])].join(', ');
}

/** How long it took; empty for a step that never began. */
function tookText(step: Step): string {
  if (step.executionTimeMs !== null) return cellDuration(step.executionTimeMs);
  if (step.startedAt === null || step.completedAt === null) return '';
  return cellDuration(Date.parse(step.completedAt) - Date.parse(step.startedAt));
}

/** What its command used on the host, if known and measurable: `CPU 3.2 s, 140 MB`; otherwise empty. */
export function usedText({ cpuMs, peakMemoryBytes }: Pick<Step, 'cpuMs' | 'peakMemoryBytes'>): string {
  const parts = [
    ...(cpuMs === undefined || cpuMs === null || cpuMs === 0 ? [] : [`CPU ${cellDuration(cpuMs)}`]),
    ...(peakMemoryBytes === undefined || peakMemoryBytes === null ? [] : [byteSize(peakMemoryBytes)]),
  ];
  return parts.join(', ');
}

/** The accessible name of a cell: `apply: failed, exit 5`. */
export function cellLabel(step: Step, now: number): string {
  const text = cellText(step, now);
  const word = step.status === 'held' && step.attempt > 0 ? 'unknown, held' : statusWord(step.status);
  if (step.reason === 'condition_false') return `${step.name}: skipped, by its condition`;
  const more =
    step.reason === 'decided' ? ', decided' : attemptsOf(step) > 1 ? `, attempt ${attemptsOf(step)}` : '';
  return `${step.name}: ${text === '' || text === 'held' || text === word ? word : `${word}, ${text}`}${more}`;
}

/** Why a step didn't succeed, in a few characters. */
export function shortReason(step: Step): string {
  if (step.signal !== null) return step.signal;
  if (step.exitCode !== null) return `exit ${step.exitCode}`;
  return step.reason === null ? 'failed' : reasonWord(step.reason);
}

/** How complete the shown output is; empty for a step that was never leased and so has none. */
export function outputWords(
  state: OutputState,
  { isCutOff, isUnheard, isLeased }: { isCutOff: boolean; isUnheard: boolean; isLeased: boolean },
): string {
  if (!isLeased) return '';
  const more = isCutOff ? '; it may have printed more' : '';
  switch (state) {
    case 'open':
      return isUnheard ? 'as far as its agent sent it' : 'complete so far';
    case 'complete':
      return isCutOff ? `as far as its agent received it${more}` : 'complete, no gaps';
    case 'truncated':
      return 'truncated at its limit';
    default:
      return `with gaps${more}`;
  }
}

/** Whether the step failed on its host's key, which is accepted or replaced at its target. */
export function isAboutHostKey({ status, reason }: Pick<Step, 'status' | 'reason'>): boolean {
  return status === 'failed' && (reason === 'host_key_unknown' || reason === 'host_key_mismatch');
}

export interface StepNote {
  state: string;
  /** What the situation is. */
  lead: string;
  text: string;
}

function timedOutLead(reason: Step['reason']): string {
  if (reason === 'start_within_expired') return 'Not started in time.';
  return reason === 'run_timeout' ? 'Stopped at the time limit of the run.' : 'Stopped at its time limit.';
}

/** What a reader has to know about a step before its output; undefined if the output says it all. */
export function stepNote(
  step: Step,
  more: {
    segment: string;
    now?: number;
    /** For a ready step: what it waits for, according to the server. */
    wait?: Pick<Wait, 'message' | 'advice'> | undefined;
  },
): StepNote | undefined {
  const message = [step.errorMessage, step.advice].filter((part) => part !== null && part !== '').join(' ');
  if (step.reason === 'decided') {
    return { state: step.status, lead: `Decided: it counts as ${statusWord(step.status)}.`, text: message };
  }
  switch (step.status) {
    case 'failed':
      return { state: 'failed', lead: step.errorMessage ?? failureLead(step), text: step.advice ?? '' };
    case 'timed_out':
      return {
        state: 'timed_out',
        lead: timedOutLead(step.reason),
        text: message,
      };
    case 'held':
      return heldNote(step, message, more.now);
    case 'unknown':
      return {
        state: step.status,
        lead: 'What happened on the host isn’t known.',
        text: `${message === '' ? 'The agent was cut off while the step ran. It may have finished, stopped halfway, or still be running.' : message} Nothing has been run again.`,
      };
    case 'cancelled':
      return {
        state: 'cancelled',
        lead: step.reason === 'halted' ? 'Never started: the run halted.' : 'Cancelled.',
        text: message,
      };
    case 'skipped':
      return {
        state: 'skipped',
        lead:
          step.reason === 'condition_false' ? 'Skipped: its condition is not met on this host.' : 'Skipped.',
        text:
          step.reason === 'condition_false'
            ? ''
            : message === ''
              ? 'A step before it did not end well.'
              : message,
      };
    case 'succeeded':
      if (step.outputState !== 'gapped' || message === '') return undefined;
      return { state: 'succeeded', lead: 'Some of its output is missing.', text: message };
    case 'pending':
      return { state: 'pending', lead: 'Not started.', text: 'It waits for the step before it.' };
    case 'ready':
      if (attemptsOf(step) > 0) return retryNote(step, message, more);
      return {
        state: 'ready',
        lead: 'Ready.',
        text:
          more.wait === undefined
            ? `It waits for an agent in ${more.segment} to take it.`
            : [more.wait.message, more.wait.advice].filter((part) => part !== null).join(' '),
      };
    default:
      return undefined;
  }
}

function heldNote(step: Step, message: string, now: number | undefined): StepNote {
  const { heldUntil } = step;
  const deadline =
    heldUntil === undefined || heldUntil === null || now === undefined
      ? 'until someone decides'
      : `for a decision until ${moment(heldUntil, now)}, ${until(heldUntil, now)}; then the step ends unknown`;
  return {
    state: 'unknown',
    lead: 'What happened on the host isn’t known.',
    text: `${message === '' ? 'The agent was cut off while the step ran.' : message} It waits ${deadline}. Nothing has been run again.`,
  };
}

function retryNote(step: Step, message: string, more: { segment: string; now?: number }): StepNote {
  const at = nextTryAt(step);
  const left = at === undefined || more.now === undefined ? 0 : at - more.now;
  const when =
    at === undefined || left <= 0
      ? `as soon as an agent in ${more.segment} can take it`
      : `in ${longDuration(left)}, at ${moment(at, more.now ?? at)}`;
  return { state: 'ready', lead: `It will be retried ${when}.`, text: message };
}

function failureLead(step: Step): string {
  if (step.signal !== null) return `Ended by signal ${step.signal}.`;
  if (step.exitCode !== null) return `Ended with exit code ${step.exitCode}.`;
  const reason = step.reason === null ? 'failed' : reasonWord(step.reason);
  return `${reason.charAt(0).toUpperCase()}${reason.slice(1)}.`;
}
