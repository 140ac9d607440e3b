import type { JobListItem } from '@opsconductor/protocol';
import { expect, it } from 'vitest';
import { labelsWord, medianWord, resultWord, successWord } from './job-words.ts';

const run = (status: JobListItem['lastRuns'][number]['status'], executionTimeMs: number | null = null) => ({
  id: 1,
  status,
  createdAt: '2026-11-24T02:27:12.000Z',
  executionTimeMs,
});

it('open and cancelled runs count neither for nor against a job', () => {
  expect(successWord([run('succeeded'), run('cancelled'), run('unknown'), run('failed')])).toBe('33 %');
  expect(successWord([run('cancelled')])).toBe('');
  expect(successWord([run('running'), run('succeeded'), run('failed'), run('held')])).toBe('50 %');
  expect(successWord([run('queued')])).toBe('');
});

it('the median is of the runs that ended', () => {
  expect(
    medianWord([run('running'), run('succeeded', 60_000), run('failed', 1_000), run('succeeded', 240_000)]),
  ).toBe('60 s');
  expect(medianWord([])).toBe('');
});

it('a result that no list offers is shown in its own words', () => {
  expect(resultWord('failed,timed_out')).toBe('last run failed');
  expect(resultWord('timed_out,partial')).toBe('timed out or partial');
});

it('a label without a value is its name', () => {
  expect(labelsWord({ env: 'prod', critical: '' })).toBe('env=prod, critical');
});
