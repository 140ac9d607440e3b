import { expect, test } from 'vitest';
import { stepNeedsOf } from './step-needs.ts';

const steps = ['one', 'two'].map((name) => ({
  name,
  type: 'ssh.exec' as const,
  config: { command: 'true' },
}));

test('each step of a job that asks for masking by form goes only to agents that can do it', () => {
  expect(stepNeedsOf({ steps, detect_secrets: true })).toEqual([['detect_secrets'], ['detect_secrets']]);
  expect(stepNeedsOf({ steps, detect_secrets: false })).toEqual([null, null]);
  expect(stepNeedsOf({ steps })).toEqual([null, null]);
});
