import { describe, expect, it } from 'vitest';
import {
  cancellingWords,
  cancelWords,
  errorLead,
  forceCancelWords,
  likelyRerun,
  mayStillRun,
  rerunHosts,
  untoldWords,
} from './run-words.ts';

describe('cancelling a run, in words', () => {
  it.each([
    [
      1,
      3,
      'Steps running on 1 host are stopped with TERM, then KILL. 3 hosts are still queued and will not start. Steps that have ended stay as they are.',
    ],
    [
      2,
      0,
      'Steps running on 2 hosts are stopped with TERM, then KILL. Steps that have ended stay as they are.',
    ],
    [0, 1, '1 host is still queued and will not start. Steps that have ended stay as they are.'],
    [0, 0, 'Steps that have ended stay as they are.'],
  ])(
    'with %i running and %i queued hosts says only what there is',
    (targetsRunning, targetsQueued, words) => {
      expect(cancelWords({ targetsRunning, targetsQueued })).toBe(words);
    },
  );
});

describe('the message of a run', () => {
  it('is that of its first failure while it goes on, or if it ended so for another reason', () => {
    for (const status of ['running', 'held', 'cancelling', 'cancelled', 'partial', 'succeeded'] as const) {
      expect(errorLead(status)).toEqual({ lead: 'First failure', state: 'failed' });
    }
  });

  it('says how the run ended otherwise', () => {
    expect(errorLead('timed_out')).toEqual({ lead: 'timed out', state: 'timed_out' });
    expect(errorLead('failed')).toEqual({ lead: 'failed', state: 'failed' });
  });
});

describe('forcing a cancel', () => {
  it('says first how many hosts become unknown, those that wait for a decision too', () => {
    const [first] = forceCancelWords({ targetsRunning: 2, targetsQueued: 1, targetsHeld: 1 });
    expect(first).toMatch(/on 3 hosts ends unknown at once/);
    expect(forceCancelWords({ targetsRunning: 0, targetsQueued: 1 })[0]).not.toMatch(/0 hosts/);
  });

  it('is not needed if nothing is left to stop', () => {
    expect(cancellingWords(0)).toBe('Nothing is left to stop.');
    expect(cancellingWords(1)).toMatch(/^1 host has not confirmed yet/);
  });
});

describe('what was given up of a run that has ended', () => {
  it('may still be running until somebody asks to stop it, and is reported until agents have reported it', () => {
    const asked = '2026-11-27T08:00:00.000Z';
    const given = { untoldAttempts: 2, cancelRequestedAt: null };
    expect(mayStillRun(given)).toBe(true);
    expect(untoldWords(given)).toBe(
      '2 attempts were given up, and no agent has reported how they ended: what was started may still be running.',
    );
    expect(mayStillRun({ untoldAttempts: 1, cancelRequestedAt: asked })).toBe(false);
    expect(untoldWords({ untoldAttempts: 1, cancelRequestedAt: asked })).toMatch(
      /^1 attempt .* it ended yet\./,
    );
    expect(mayStillRun({ cancelRequestedAt: null })).toBe(false);
    expect(untoldWords({ untoldAttempts: 0, cancelRequestedAt: null })).toBeUndefined();
  });
});

describe('running again', () => {
  const run = {
    targetsTotal: 24,
    targetsSucceeded: 12,
    targetsFailed: 3,
    targetsTimedOut: 1,
    targetsUnknown: 2,
  };

  it('counts the hosts of each choice, with cancelled ones among those that did not succeed', () => {
    expect(rerunHosts(run)).toEqual({ failed: 4, unknown: 2, not_succeeded: 12, all: 24 });
  });

  it('starts with the failed hosts, otherwise those that did not succeed, otherwise all', () => {
    expect(likelyRerun({ failed: 4, unknown: 2, not_succeeded: 12, all: 24 })).toBe('failed');
    expect(likelyRerun({ failed: 0, unknown: 2, not_succeeded: 2, all: 24 })).toBe('not_succeeded');
    expect(likelyRerun({ failed: 0, unknown: 0, not_succeeded: 0, all: 24 })).toBe('all');
  });
});
