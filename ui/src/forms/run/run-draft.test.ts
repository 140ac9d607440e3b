import type { JobDefinition } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { load } from '../../state/testing.ts';

const { RunDraft } = await load<typeof import('./run-draft.svelte.ts')>('forms/run/run-draft.svelte.ts');

const job: JobDefinition = {
  name: 'Patch',
  parameters: {
    ticket: { type: 'string', pattern: '^CHG-[0-9]{5}$' },
    channel: { type: 'string', enum: ['security', 'all'], default: 'security' },
    password: { type: 'string', secret: true },
  },
  strategy: { max_parallel: 2, order: 'name' },
  steps: [{ name: 'apply', type: 'ssh.exec', config: { command: 'true' } }],
};

function setup() {
  const draft = new RunDraft();
  draft.take(job);
  return draft;
}

test('only values that someone gave are sent, without secrets', () => {
  const draft = setup();
  expect(draft.request({ targetIds: [1] })).toEqual({ targetIds: [1] });
  draft.form.give(['ticket'], 'CHG-20418');
  draft.form.giveSecret('password', 'hunter22');
  draft.version = 'stable';
  draft.setOption('max_parallel', '8');
  draft.setOption('timeout', '600');
  draft.reason = ' monthly ';
  expect(draft.isRight).toBe(true);
  expect(draft.request({ targetIds: [1] })).toEqual({
    targetIds: [1],
    version: 'stable',
    parameters: { ticket: 'CHG-20418' },
    strategy: { max_parallel: 8, order: 'name' },
    timeout: 600,
    reason: 'monthly',
  });
  draft.version = '3';
  expect(draft.request({ targetIds: [1] }).version).toBe(3);
});

test('a missing or wrong value, or an option that is not a number, prevents the start', () => {
  const draft = setup();
  expect(draft.isRight).toBe(false);
  draft.form.give(['ticket'], 'CHG-1');
  draft.form.giveSecret('password', 'x');
  expect(draft.form.problems.map(({ path }) => path)).toEqual(['parameters.ticket']);
  draft.form.give(['ticket'], 'CHG-20418');
  expect(draft.isRight).toBe(true);
  for (const [name, text] of [
    ['max_parallel', '0'],
    ['max_failures', '101%'],
    ['priority', '101'],
    ['timeout', '1.5'],
  ] as const) {
    draft.setOption(name, text);
    expect(draft.wrongOptions).toEqual([name]);
    draft.setOption(name, '');
  }
  draft.setOption('max_failures', '10%');
  expect(draft.request({ targetIds: [1] }).strategy).toEqual({ ...job.strategy, max_failures: '10%' });
});

test('values of an earlier run are used again if their parameter still exists; secrets and others are not', () => {
  const draft = setup();
  draft.form.giveAll({ ticket: 'CHG-20418', gone: 1, password: 'never' });
  expect(draft.form.values).toEqual({ ticket: 'CHG-20418' });
  expect(draft.form.secrets).toEqual({});
});
