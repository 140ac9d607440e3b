import { describe, expect, it } from 'vitest';
import { cancelWords } from './run-words.ts';

describe('cancelling a run, in words', () => {
  it.each([
    [
      1,
      3,
      'Steps that run on 1 host are stopped with TERM, then KILL. 3 hosts are still queued and will not start. Steps that ended stay as they are.',
    ],
    [2, 0, 'Steps that run on 2 hosts are stopped with TERM, then KILL. Steps that ended stay as they are.'],
    [0, 1, '1 host is still queued and will not start. Steps that ended stay as they are.'],
    [0, 0, 'Steps that ended stay as they are.'],
  ])(
    'with %i running and %i queued hosts says only what there is',
    (targetsRunning, targetsQueued, words) => {
      expect(cancelWords({ targetsRunning, targetsQueued })).toBe(words);
    },
  );
});
