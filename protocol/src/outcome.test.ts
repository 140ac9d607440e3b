import { Ajv2020 } from 'ajv/dist/2020.js';
import { expect, test } from 'vitest';
import { outcomeInReasons, StepOutcomeSchema, stepReasons } from './outcome.ts';
import { validatorOptions } from './validation.ts';

const lost = { status: 'unknown', reason: 'supervisor_lost', message: 'It was ended.' } as const;

test('a server is sent reasons that it knows, and the messages stay the same', () => {
  expect(outcomeInReasons(lost, stepReasons)).toEqual(lost);
  expect(outcomeInReasons(lost)).toEqual({ ...lost, reason: 'connection_lost' });
  expect(outcomeInReasons(lost, ['connection_lost'])).toEqual({ ...lost, reason: 'connection_lost' });
  expect(outcomeInReasons({ status: 'failed', reason: 'exit_code', exitCode: 3 })).toMatchObject({
    reason: 'exit_code',
  });
});

test('an unknown reason without an older equivalent becomes internal', () => {
  expect(outcomeInReasons({ status: 'failed', reason: 'exit_code' }, ['internal'])).toMatchObject({
    reason: 'internal',
  });
  expect(outcomeInReasons({ status: 'succeeded' }, [])).toEqual({ status: 'succeeded' });
});

test('a step can end with kinds of secrets that only a later agent knows, but not with any other text as a kind', () => {
  const isOutcome = new Ajv2020(validatorOptions).compile(StepOutcomeSchema);
  const ending = (kind: string) => ({
    status: 'succeeded',
    detections: [{ kind, place: 'stdout', count: 1 }],
  });
  expect(isOutcome(ending('later_token'))).toBe(true);
  expect(isOutcome(ending('AKIA IS NO NAME'))).toBe(false);
});
