import { expect, it } from 'vitest';
import { load } from '../testing.ts';

const { JobSelection } = await load<typeof import('./job-selection.svelte.ts')>(
  'state/jobs/job-selection.svelte.ts',
);
const jobs = [
  { id: 3, name: 'Patch' },
  { id: 7, name: 'Verify' },
  { id: 9, name: 'Rotate' },
];

it('jobs are selected and deselected one by one and together, each once', () => {
  const selection = new JobSelection();
  selection.choose(jobs, true);
  selection.choose(jobs.slice(1, 2), true);
  expect([selection.size, selection.ids]).toEqual([3, [3, 7, 9]]);
  selection.choose(jobs.slice(0, 1), false);
  expect([selection.has(3), selection.has(7), selection.nameOf(7)]).toEqual([false, true, 'Verify']);
  selection.clear();
  expect(selection.size).toBe(0);
});

it('jobs that prevent an action are left out, and the rest stay selected', () => {
  const selection = new JobSelection();
  selection.choose(jobs, true);
  selection.leaveOut([7, 100]);
  expect(selection.ids).toEqual([3, 9]);
});
