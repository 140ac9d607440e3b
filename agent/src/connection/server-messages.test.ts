import { serverToAgent } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { parseServerMessage } from './server-messages.ts';

test('every type has a schema that can be compiled', () => {
  for (const type of Object.keys(serverToAgent)) {
    const parsed = parseServerMessage(JSON.stringify({ type }));
    expect(parsed.ok || parsed.fault).not.toBe('unknown message type');
  }
});

test('an invalid message is refused with the place of the fault, but without the value found there', () => {
  expect(parseServerMessage('{')).toEqual({ ok: false, fault: 'not JSON' });
  for (const type of ['gossip', 'toString', 7, undefined])
    expect(parseServerMessage(JSON.stringify({ type }))).toEqual({
      ok: false,
      fault: 'unknown message type',
    });
  const challenge = { type: 'challenge', serverNonce: 'swordfish' };
  const parsed = parseServerMessage(JSON.stringify(challenge));
  expect(parsed).toMatchObject({ ok: false, fault: expect.stringMatching(/^challenge/) });
  expect(JSON.stringify(parsed)).not.toContain('swordfish');
});

test.each(['heartbeatIntervalMs', 'leaseTtlMs'])(
  'a welcome whose %s is longer than a timer can be is refused',
  (name) => {
    const signature = `${'A'.repeat(86)}==`;
    const welcome = {
      type: 'welcome',
      chosenVersion: 1,
      signature,
      sessionNumber: 1,
      generation: 1,
      generationSignature: signature,
      heartbeatIntervalMs: 1_000,
      leaseTtlMs: 3_000,
    };
    expect(parseServerMessage(JSON.stringify(welcome)).ok).toBe(true);
    expect(parseServerMessage(JSON.stringify({ ...welcome, [name]: 2 ** 31 }))).toMatchObject({ ok: false });
  },
);
