import { expect, it } from 'vitest';
import { failed, host } from '../matrix/testing.ts';
import { bySteps, causesOf } from './causes.ts';
import { filterHosts } from './host-groups.ts';

const succeeded = { status: 'succeeded' as const };
const refused = { status: 'failed' as const, reason: 'auth_failed' as const, exitCode: null, signal: null };
const slow = { status: 'timed_out' as const, reason: 'timed_out' as const, exitCode: null, signal: 'TERM' };
const hosts = [
  host(1, 'failed', [refused]),
  host(2, 'failed', [succeeded, failed(100)]),
  host(3, 'failed', [succeeded, failed(100)]),
  host(4, 'failed', [failed(100)]),
  host(5, 'timed_out', [slow]),
  host(6, 'succeeded', [failed(1), succeeded]),
];
const ids = (filter: string) => filterHosts(hosts, filter).map(({ targetRun }) => targetRun.id);

it('hosts that failed at the same step for the same reason are one cause, the most frequent first', () => {
  expect(
    causesOf(hosts, true).map(({ hosts: number, stepName, reason }) => [number, `${stepName}: ${reason}`]),
  ).toEqual([
    [2, 'step-2: exit 100'],
    [1, 'step-1: auth failed'],
    [1, 'step-1: exit 100'],
    [1, 'step-1: timed out'],
  ]);
});

it('the filter of a cause leaves exactly its hosts', () => {
  expect(causesOf(hosts, true).map(({ filter }) => [filter, ids(filter)])).toEqual([
    ['step:2 why:exit_100', [2, 3]],
    ['step:1 why:auth_failed', [1]],
    ['step:1 why:exit_100', [4]],
    ['step:1 why:timed_out', [5]],
  ]);
  expect(ids('why:exit_100')).toEqual([2, 3, 4]);
  expect(ids('why:exit_1')).toEqual([]);
});

it('the causes of one step are told together, the step of the most frequent one first', () => {
  expect(
    bySteps(causesOf(hosts, true)).map(({ stepName, causes }) => [
      stepName,
      causes.map(({ reason }) => reason),
    ]),
  ).toEqual([
    ['step-2', ['exit 100']],
    ['step-1', ['auth failed', 'exit 100', 'timed out']],
  ]);
});

it('there are no causes while the steps of a failed host are not loaded', () => {
  expect(causesOf([...hosts, host(7, 'failed')], false)).toEqual([]);
  expect(causesOf([...hosts, host(7, 'failed')], true)).toHaveLength(4);
});
