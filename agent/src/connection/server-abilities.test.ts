import { stepReasons } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { abilitiesOf } from './server-abilities.ts';

const skipped = { status: 'skipped', reason: 'condition_false', message: 'why' } as const;

test('to a server that knows no conditions a skipped step is reported as failed', () => {
  expect(abilitiesOf({}).readable(skipped)).toEqual({
    status: 'failed',
    reason: 'invalid_config',
    message: 'why',
  });
  const newer = abilitiesOf({ capabilities: ['conditions'], stepReasons: [...stepReasons] });
  expect(newer.readable(skipped)).toEqual(skipped);
});

test('a server that doesn’t know measured use is sent none', () => {
  const outcome = { status: 'succeeded', exitCode: 0, cpuMs: 1_200, peakMemoryBytes: 4096 } as const;
  expect(abilitiesOf({}).readable(outcome)).toEqual({ status: 'succeeded', exitCode: 0 });
  expect(abilitiesOf({ capabilities: ['measured_use'] }).readable(outcome)).toEqual(outcome);
});

test('a server that doesn’t know detections is sent none', () => {
  const detections = [{ kind: 'jwt', place: 'stdout', count: 2 }] as const;
  const outcome = { status: 'succeeded', detections: [...detections] } as const;
  expect(abilitiesOf({}).readable(outcome as never)).toEqual({ status: 'succeeded' });
  expect(abilitiesOf({ capabilities: ['detections'] }).readable(outcome as never)).toEqual(outcome);
});

test('a reason that a server does not know is replaced by one that it knows', () => {
  const outcome = { status: 'failed', reason: 'condition_error' } as const;
  expect(abilitiesOf({}).readable(outcome)).toEqual({ status: 'failed', reason: 'invalid_config' });
});
