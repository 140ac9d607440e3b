import { limits } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { isModest } from './message-shape.ts';

const isTaken = (text: string) => isModest(Buffer.from(text));
const most = limits.maxControlFrameBytes - 100;

test.each([
  ['spaces', ' '.repeat(most)],
  ['lists inside one another', `{"type":"heartbeat","x":${'['.repeat(most)}`],
  ['a few lists inside one another', '['.repeat(65)],
  ['numbers', `{"type":"heartbeat","x":[${'0,'.repeat(most / 2)}0]}`],
  ['objects', `{"type":"heartbeat","x":[${'{},'.repeat(50_000)}0]}`],
  ['names', `{"type":"heartbeat",${'"a":"b",'.repeat(50_001)}"z":"z"}`],
])('a frame of %s is not parsed', (_, text) => {
  expect(isTaken(text)).toBe(false);
});

test('the contents of strings count for nothing, even after quotes in them', () => {
  expect(isTaken(JSON.stringify({ type: 'complete', text: '"[{,\\'.repeat(most / 10) }))).toBe(true);
  expect(isTaken(JSON.stringify({ type: 'complete', text: 'a\\' }) + '['.repeat(65))).toBe(false);
});

test('a frame that ends within a string is left to the parser', () => {
  for (const text of ['"', '"\\', '{"type":"x']) expect(isTaken(text)).toBe(true);
});

test('an agent that reconnects may report everything that it can hold', () => {
  const attempt = {
    ...{ step: 999_999_999_999_999, epoch: 1_000_000, leaseToken: 'a'.repeat(32), state: 'running' },
    ...{ output: { seq: 999_999_999, rawBytes: 4_294_967_296 }, survives: true, startedMsAgo: 1_234_567 },
    unknown: [{ some: { later: [1, 2, 3] } }],
  };
  const attempts = Array.from({ length: limits.maxHeldAttemptsPerHeartbeat }, () => attempt);
  expect(isTaken(JSON.stringify({ type: 'resume', attempts }))).toBe(true);
});
