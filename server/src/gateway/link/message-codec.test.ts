import { agentToServer } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { parseAgentMessage } from './message-codec.ts';

const complete = {
  type: 'complete',
  requestId: 'r1',
  step: 1,
  epoch: 1,
  leaseToken: '0123456789abcdef',
  outcome: { status: 'succeeded', exitCode: 0, executionTimeMs: 3 },
  output: { lastSeq: 0, rawBytes: 0, digest: `${'A'.repeat(43)}=`, truncated: false, gaps: [] },
  wantsNext: true,
};
const parse = (value: unknown) => parseAgentMessage(JSON.stringify(value));

test('a completion is taken as it is', () => {
  expect(parse(complete)).toEqual({ ok: true, message: complete });
});

test('a completion whose outcome can’t be read ends its attempt as unknown instead of closing the connection', () => {
  const parsed = parse({ ...complete, outcome: { ...complete.outcome, executionTimeMs: -1 } });
  expect(parsed).toMatchObject({
    ok: true,
    message: { step: 1, outcome: { status: 'unknown', reason: 'internal' } },
  });
});

test('anything else that is wrong is refused, with its place', () => {
  expect(parse({ ...complete, epoch: 0 })).toEqual({
    ok: false,
    problem: expect.stringContaining('complete/epoch'),
  });
  expect(parse({ type: 'gossip' })).toEqual({ ok: false, problem: 'unknown message type' });
  expect(parseAgentMessage('{')).toEqual({ ok: false, problem: 'not JSON' });
});

test('every type has a schema that can be compiled', () => {
  for (const type of Object.keys(agentToServer)) {
    const parsed = parse({ type });
    expect(parsed.ok || parsed.problem).not.toBe('unknown message type');
  }
});
