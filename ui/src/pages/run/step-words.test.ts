import { type Step, stepStatuses } from '@opsconductor/protocol';
import { describe, expect, it } from 'vitest';
import {
  cellLabel,
  cellText,
  endText,
  isAboutHostKey,
  nextTryAt,
  outputWords,
  shortReason,
  stepLook,
  stepNote,
  usedText,
} from './step-words.ts';

const now = Date.parse('2026-11-24T02:27:12.000Z');
const step = (fields: Partial<Step>): Step => ({
  id: 1,
  targetRunId: 1,
  stepNumber: 3,
  name: 'apply',
  stepType: 'ssh.exec',
  status: 'succeeded',
  attempt: 1,
  agentName: 'dmz-1-a',
  leasedAt: null,
  startedAt: null,
  completedAt: null,
  executionTimeMs: null,
  exitCode: null,
  signal: null,
  reason: null,
  errorMessage: null,
  advice: null,
  survivors: [],
  outputState: 'complete',
  outputBytes: 0,
  outputSeq: 0,
  ...fields,
});

it('a step that failed on a host key leads to its target, where keys are accepted', () => {
  expect(isAboutHostKey(step({ status: 'failed', reason: 'host_key_unknown' }))).toBe(true);
  expect(isAboutHostKey(step({ status: 'failed', reason: 'host_key_mismatch' }))).toBe(true);
  expect(isAboutHostKey(step({ status: 'failed', reason: 'connection_refused' }))).toBe(false);
  expect(isAboutHostKey(step({ status: 'ready', reason: 'host_key_unknown' }))).toBe(false);
});

describe('a step in words', () => {
  it('says in its cell what its state needs', () => {
    expect(cellText(step({ executionTimeMs: 18_000 }), now)).toBe('18 s');
    expect(cellText(step({ status: 'running', startedAt: '2026-11-24T02:24:08.000Z' }), now)).toBe('3:04');
    expect(cellText(step({ status: 'failed', exitCode: 5, reason: 'exit_code' }), now)).toBe('exit 5');
    expect(cellText(step({ status: 'unknown', reason: 'agent_silent' }), now)).toBe('unknown');
    expect(cellText(step({ status: 'unknown', reason: 'agent_revoked' }), now)).toBe('unknown');
    expect(cellText(step({ status: 'pending' }), now)).toBe('');
  });

  it('says below its output how it ended, and how long it took, also if it failed', () => {
    const took = { executionTimeMs: 1_200 };
    expect(endText(step(took), now)).toBe('succeeded, 1.2 s');
    expect(endText(step({ ...took, status: 'failed', exitCode: 5 }), now)).toBe('failed, exit 5, 1.2 s');
    expect(endText(step({ status: 'failed', reason: 'auth_failed' }), now)).toBe('failed, auth failed');
    expect(endText(step({ ...took, status: 'timed_out' }), now)).toBe('timed out, 1.2 s');
    expect(endText(step({ status: 'unknown', reason: 'agent_silent' }), now)).toBe('unknown');
    expect(endText(step({ status: 'held', reason: 'agent_silent' }), now)).toBe('unknown, held');
  });

  it('does not say that a step was stopped if no agent took it in time', () => {
    const waited = step({
      status: 'timed_out',
      reason: 'start_within_expired',
      errorMessage: 'No agent in segment “dmz” took the step in time (start_within).',
    });
    expect(stepNote(waited, { segment: 'dmz' })).toEqual({
      state: 'timed_out',
      lead: 'Not started in time.',
      text: 'No agent in segment “dmz” took the step in time (start_within).',
    });
  });

  it.each([
    [
      'timed_out',
      'Stopped at its time limit.',
      'The command ran out of its time. The step’s timeout is 5 s.',
    ],
    ['run_timeout', 'Stopped at the time limit of the run.', 'The run’s timeout of 60 s had passed.'],
  ] as const)('says which time limit a step was stopped at (%s)', (reason, lead, errorMessage) => {
    const stopped = step({ status: 'timed_out', reason, errorMessage });
    expect(stepNote(stopped, { segment: 'dmz' })).toEqual({ state: 'timed_out', lead, text: errorMessage });
  });

  it('says that a leased step is starting until it begins, and then counts whole seconds', () => {
    expect(cellText(step({ status: 'running' }), now)).toBe('starting');
    const begun = step({ status: 'running', startedAt: '2026-11-24T02:27:08.300Z' });
    expect(cellText(begun, now)).toBe('0:04');
    expect(cellLabel(begun, now)).toBe('apply: running, 0:04');
    // The server's clock may be ahead of the browser's.
    expect(cellText(step({ status: 'running', startedAt: '2026-11-24T02:27:14.000Z' }), now)).toBe('0:00');
  });

  it('says how long a cancelled step ran, and nothing for one that never began', () => {
    expect(cellText(step({ status: 'cancelled', executionTimeMs: 4_200 }), now)).toBe('4.2 s');
    const times = { startedAt: '2026-11-24T02:27:00.000Z', completedAt: '2026-11-24T02:27:03.100Z' };
    expect(cellText(step({ status: 'cancelled', ...times }), now)).toBe('3.1 s');
    expect(cellText(step({ status: 'cancelled', attempt: 0, completedAt: times.completedAt }), now)).toBe('');
    expect(cellLabel(step({ status: 'cancelled', executionTimeMs: 4_200 }), now)).toBe(
      'apply: cancelled, 4.2 s',
    );
  });

  it('says which resources its command used, as far as the host reported them', () => {
    expect(usedText(step({ cpuMs: 3_200, peakMemoryBytes: 140_000_000 }))).toBe('CPU 3.2 s, 140 MB');
    expect(usedText(step({ cpuMs: 40, peakMemoryBytes: null }))).toBe('CPU 40 ms');
    // The shell counts in hundredths of a second: nought is less than one.
    expect(usedText(step({ cpuMs: 0, peakMemoryBytes: 140_000_000 }))).toBe('140 MB');
    expect(usedText(step({}))).toBe('');
  });

  it('names its cell by step and state, never by color alone', () => {
    expect(cellLabel(step({ status: 'failed', exitCode: 5 }), now)).toBe('apply: failed, exit 5');
    expect(cellLabel(step({ status: 'held' }), now)).toBe('apply: unknown, held');
    for (const status of stepStatuses) {
      expect(cellLabel(step({ status }), now)).toContain(status.replaceAll('_', ' '));
    }
  });

  it('gives the reason if there is no exit code', () => {
    expect(shortReason(step({ status: 'failed', reason: 'host_key_unknown' }))).toBe('host key unknown');
    expect(shortReason(step({ status: 'failed', signal: 'KILL', exitCode: 137 }))).toBe('KILL');
  });

  it('never calls an unknown step failed, and says that nothing was run again', () => {
    const note = stepNote(step({ status: 'unknown', reason: 'agent_silent' }), { segment: 'dmz-1' });
    expect(note?.state).toBe('unknown');
    expect(note?.text).toMatch(/may have finished.*Nothing has been run again/);
    expect(`${note?.lead} ${note?.text}`).not.toMatch(/fail/i);
  });

  it('does not call output complete if its end is unknown', () => {
    const heard = { isCutOff: false, isUnheard: false, isLeased: true };
    expect(outputWords('complete', heard)).toBe('complete, no gaps');
    expect(outputWords('complete', { ...heard, isCutOff: true })).toBe(
      'as far as its agent received it; it may have printed more',
    );
    expect(outputWords('gapped', { ...heard, isCutOff: true })).toBe('with gaps; it may have printed more');
    expect(outputWords('open', heard)).toBe('complete so far');
    expect(outputWords('open', { ...heard, isUnheard: true })).toBe('as far as its agent sent it');
  });

  it('says nothing about the output of a step that never had any', () => {
    expect(outputWords('open', { isCutOff: false, isUnheard: false, isLeased: false })).toBe('');
  });

  it('says once that an unknown step’s agent may come back, and no longer after it has reported', () => {
    const text = (advice: string) =>
      stepNote(step({ status: 'unknown', errorMessage: 'Agent a has been silent.', advice }), {
        segment: 'a',
      })?.text;
    expect(text('If the agent comes back, its result is added here.')).toBe(
      'Agent a has been silent. If the agent comes back, its result is added here. Nothing has been run again.',
    );
    expect(text('The agent has since reported: unknown')).not.toMatch(/comes back/);
  });

  it('says what a ready step waits for, according to the server', () => {
    const ready = step({ status: 'ready', attempt: 0 });
    const wait = { message: 'The only agent in segment “a” is offline.', advice: 'Start an agent.' };
    expect(stepNote(ready, { segment: 'a', wait })?.text).toBe(
      'The only agent in segment “a” is offline. Start an agent.',
    );
    expect(stepNote(ready, { segment: 'a' })?.text).toBe('It waits for an agent in a to take it.');
  });

  it('shows a failed step’s message once, and nothing for succeeded steps', () => {
    const note = stepNote(
      step({ status: 'failed', exitCode: 5, errorMessage: 'It ended with 5.', advice: 'Look.' }),
      { segment: 'a' },
    );
    expect(note).toEqual({ state: 'failed', lead: 'It ended with 5.', text: 'Look.' });
    expect(stepNote(step({}), { segment: 'a' })).toBeUndefined();
    expect(stepNote(step({ outputState: 'gapped' }), { segment: 'a' })).toBeUndefined();
  });

  it('says why a succeeded step lacks output, if that is known', () => {
    const note = stepNote(step({ outputState: 'gapped', advice: 'Its output is not kept.' }), {
      segment: 'a',
    });
    expect(note).toEqual({
      state: 'succeeded',
      lead: 'Some of its output is missing.',
      text: 'Its output is not kept.',
    });
  });

  it('keeps the look of an unknown step while it is held, and says until when', () => {
    const held = step({ status: 'held', reason: 'agent_silent', heldUntil: '2026-11-24T03:24:12.000Z' });
    expect(stepLook(held)).toBe('unknown');
    expect(stepNote(held, { segment: 'dmz-1', now })?.text).toMatch(
      /waits for a decision until 03:24:12, in 57 min; then the step ends unknown/,
    );
  });

  it('says when it is tried again, and why', () => {
    const waits = step({
      status: 'ready',
      notBefore: '2026-11-24T02:28:12.000Z',
      advice: 'Try 1 of 3 failed.',
    });
    expect(cellText(waits, now)).toBe('in 1:00');
    expect(stepNote(waits, { segment: 'dmz-1', now })).toEqual({
      state: 'ready',
      lead: 'It will be retried in 1 min, at 02:28:12.',
      text: 'Try 1 of 3 failed.',
    });
    const due = step({ status: 'ready', notBefore: null });
    expect(nextTryAt(due)).toBeUndefined();
    expect(stepNote(due, { segment: 'dmz-1', now })?.lead).toMatch(
      /as soon as an agent in dmz-1 can take it/,
    );
  });

  it('says what a person decided, whatever it counts as', () => {
    const decided = step({
      reason: 'decided',
      errorMessage: 'It went silent.',
      advice: 'ada decided: looked.',
    });
    expect(cellLabel(decided, now)).toBe('apply: succeeded, decided');
    expect(stepNote(decided, { segment: 'a' })).toEqual({
      state: 'succeeded',
      lead: 'Decided: it counts as succeeded.',
      text: 'It went silent. ada decided: looked.',
    });
  });

  it('distinguishes a step that its own condition skipped from one whose predecessor failed', () => {
    const left = step({ status: 'skipped', reason: 'condition_false', errorMessage: 'Not met.' });
    expect(cellLabel(left, now)).toBe('apply: skipped, by its condition');
    expect(stepNote(left, { segment: 'a' })?.lead).toBe('Skipped: its condition is not met on this host.');
    const after = step({ status: 'skipped', reason: 'predecessor' });
    expect(cellLabel(after, now)).toBe('apply: skipped');
    expect(stepNote(after, { segment: 'a' })?.text).toBe('A step before it did not end well.');
  });
});
