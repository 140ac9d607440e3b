import { expect, test } from 'vitest';
import type { JobDefinition, StepDefinition } from '../api/jobs/jobs.ts';
import { compareDefinitions } from './compare-definitions.ts';

const step = (name: string, more: Partial<StepDefinition> = {}): StepDefinition => ({
  name,
  type: 'ssh.exec',
  config: { command: 'uptime', timeout: 300 },
  ...more,
});
const job = (...steps: StepDefinition[]): JobDefinition => ({ name: 'patch', steps });
const short = (before: JobDefinition, after: JobDefinition) =>
  compareDefinitions(before, after).map(({ kind, path, beforePath, step: of }) =>
    [
      kind,
      path,
      ...(beforePath === undefined ? [] : [`from ${beforePath}`]),
      ...(of === undefined ? [] : [of]),
    ].join(' '),
  );

test('equal definitions have no changes, whatever the order of their fields', () => {
  const before = { ...job(step('a')), timeout: 60, description: 'x' };
  const after = { description: 'x', timeout: 60, ...job(step('a')) };
  expect(compareDefinitions(before, after)).toEqual([]);
});

test('each changed field is named by its path, with its old and new values', () => {
  const before = {
    ...job(step('a', { config: { command: 'uptime', environment: { 'A-B': '1' } } })),
    timeout: 60,
  };
  const after = { ...job(step('a', { config: { command: 'id', environment: {} } })), description: 'new' };
  expect(compareDefinitions(before, after)).toEqual([
    { path: 'description', kind: 'added', after: 'new' },
    { path: 'timeout', kind: 'removed', before: 60 },
    { path: 'steps[0].config.command', step: 'a', kind: 'changed', before: 'uptime', after: 'id' },
    { path: 'steps[0].config.environment["A-B"]', step: 'a', kind: 'removed', before: '1' },
  ]);
});

test('texts of several lines come with the lines that differ', () => {
  const before = job(step('a', { config: { command: 'set -e\nuptime\n' } }));
  const after = job(step('a', { config: { command: 'set -e\nid\n' } }));
  const [change] = compareDefinitions(before, after);
  expect(change?.hunks?.[0]?.lines).toEqual([
    { op: 'same', text: 'set -e' },
    { op: 'removed', text: 'uptime' },
    { op: 'added', text: 'id' },
    { op: 'same', text: '' },
  ]);
});

test('a step inserted between others leaves them unchanged', () => {
  expect(short(job(step('a'), step('b')), job(step('a'), step('new'), step('b')))).toEqual([
    'added steps[1] new',
  ]);
  expect(short(job(step('a'), step('b'), step('c')), job(step('a'), step('c')))).toEqual([
    'removed steps[1] b',
  ]);
});

test('a moved step is reported once, with its changes at its new place', () => {
  const before = job(step('a'), step('b'), step('c'));
  const after = job(step('c', { config: { command: 'id', timeout: 300 } }), step('a'), step('b'));
  expect(compareDefinitions(before, after)).toEqual([
    { path: 'steps[0]', beforePath: 'steps[2]', step: 'c', kind: 'moved', before: 3, after: 1 },
    {
      path: 'steps[0].config.command',
      beforePath: 'steps[2].config.command',
      step: 'c',
      kind: 'changed',
      before: 'uptime',
      after: 'id',
    },
  ]);
});

test('a renamed step is recognized by its id, or by its place if it has none', () => {
  expect(
    short(job(step('a', { id: 'ask' }), step('b')), job(step('b'), step('renamed', { id: 'ask' }))),
  ).toEqual(['moved steps[1] from steps[0] renamed', 'changed steps[1].name from steps[0].name renamed']);
  expect(short(job(step('a'), step('b')), job(step('a'), step('renamed')))).toEqual([
    'changed steps[1].name renamed',
  ]);
  const other = { ...step('other'), type: 'winrm.exec' } as StepDefinition;
  expect(short(job(step('a'), step('b')), job(step('a'), other))).toEqual([
    'added steps[1] other',
    'removed steps[1] b',
  ]);
});

test('a property with the name of a built-in one is treated like any other', () => {
  const env = (text: string) => job(step('a', { config: { environment: JSON.parse(text) } }));
  expect(short(env('{}'), env('{"constructor":"x","__proto__":"y"}'))).toEqual([
    'added steps[0].config.environment.constructor a',
    'added steps[0].config.environment.__proto__ a',
  ]);
});

test('of many long texts that differ in very many lines, only some are compared line by line', () => {
  const lines = (odd: string) =>
    Array.from({ length: 900 }, (_, n) => (n % 2 === 0 ? `${n}` : odd)).join('\n');
  const jobOf = (odd: string) =>
    ({
      name: 'job',
      steps: Array.from({ length: 40 }, (_, n) => ({
        ...{ name: `step ${n}`, type: 'ssh.exec' },
        config: { command: lines(`${odd} ${n}`) },
      })),
    }) as unknown as JobDefinition;
  const keeping = compareDefinitions(jobOf('a'), jobOf('b')).map(({ hunks }) =>
    (hunks ?? []).some((hunk) => hunk.lines.slice(4, -4).some(({ op }) => op === 'same')),
  );
  expect(keeping).toHaveLength(40);
  expect(keeping[0]).toBe(true);
  expect(keeping.filter(Boolean).length).toBeLessThan(20);
  expect(keeping.at(-1)).toBe(false);
});
