import { expect, test } from 'vitest';
import { outcomeInReasons, stepReasons } from './outcome.ts';

const lost = { status: 'unknown', reason: 'supervisor_lost', message: 'It was ended.' } as const;

test('a server is told reasons that it knows, and the words stay', () => {
  expect(outcomeInReasons(lost, stepReasons)).toEqual(lost);
  expect(outcomeInReasons(lost)).toEqual({ ...lost, reason: 'connection_lost' });
  expect(outcomeInReasons(lost, ['connection_lost'])).toEqual({ ...lost, reason: 'connection_lost' });
  expect(outcomeInReasons({ status: 'failed', reason: 'exit_code', exitCode: 3 })).toMatchObject({
    reason: 'exit_code',
  });
});

test('a reason that has no older one becomes internal where it is not known', () => {
  expect(outcomeInReasons({ status: 'failed', reason: 'exit_code' }, ['internal'])).toMatchObject({
    reason: 'internal',
  });
  expect(outcomeInReasons({ status: 'succeeded' }, [])).toEqual({ status: 'succeeded' });
});
