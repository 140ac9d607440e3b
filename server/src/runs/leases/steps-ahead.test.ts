import { type JobDefinition, limits, type StepDefinition } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { StepsAhead, stepsAheadOf } from './steps-ahead.ts';

const step = (more: Partial<StepDefinition> = {}) =>
  ({ name: 'step', type: 'ssh.exec', config: { command: 'true' }, ...more }) as StepDefinition;

const job = (...steps: StepDefinition[]): JobDefinition => ({ name: 'job', steps });

const aheadAt = (definition: JobDefinition) =>
  definition.steps.map((_, at) => stepsAheadOf(definition, at + 1));

test('beyond the next step, as many may be leased ahead as follow one another', () => {
  expect(aheadAt(job(step(), step(), step(), step()))).toEqual([2, 1, 0, 0]);
  const long = job(...Array.from({ length: 2 * limits.maxStepsAhead }, () => step()));
  expect(aheadAt(long)[0]).toBe(limits.maxStepsAhead - 1);
});

test.each<[string, Partial<StepDefinition>]>([
  ['rules for an unknown outcome', { on_unknown: 'hold' }],
  ['retries', { retry: { attempts: 2 } }],
  ['a condition on how others ended', { when_status: 'always' }],
])('in a job with %s, no step is leased ahead', (_, rules) => {
  expect(aheadAt(job(step(), step(), step(), step(rules)))).toEqual([0, 0, 0, 0]);
});

test('no step is leased ahead that is filled in with what an earlier one hands on, or that follows such a one', () => {
  const hands = step({ name: 'find', id: 'find', outputs: { path: { from: 'stdout' } } } as never);
  const takes = step({ config: { command: 'ls ${{ steps.find.outputs.path }}' } });
  expect(aheadAt(job(step(), hands, step(), step(), takes, step()))).toEqual([0, 1, 0, 1, 0, 0]);
});

test('what was noted longest ago is forgotten first, and nothing is noted of signed runs', () => {
  const ahead = new StepsAhead();
  const definition = job(step(), step(), step());
  ahead.note(1, { definition, stepNumber: 1, isSigned: true });
  expect(ahead.of(1)).toBe(0);
  for (let id = 1; id <= 5_000; id += 1) ahead.note(id, { definition, stepNumber: 1, isSigned: false });
  expect([ahead.of(1), ahead.of(5_000)]).toEqual([0, 1]);
});
