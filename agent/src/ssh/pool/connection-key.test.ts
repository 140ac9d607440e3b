import { expect, test } from 'vitest';
import type { JumpHost, OpenedCredential, StepTarget } from '../../steps/step-type.ts';
import { connectionKey } from './connection-key.ts';

const target: StepTarget = {
  ...{ id: 1, name: 'web-1', host: 'web.test', port: 22 },
  hostKeys: ['SHA256:one', 'SHA256:two'],
};
const credential: OpenedCredential = {
  ...{ kind: 'ssh_password', id: '7', version: 1, user: 'deploy', password: 'secret' },
};
const jump: JumpHost = { target: { ...target, id: 2 }, credential, checkAddresses: () => undefined };

const keyOf = (more: Partial<StepTarget> = {}, other: Partial<OpenedCredential> = {}) =>
  connectionKey({ ...target, ...more }, { ...credential, ...other } as OpenedCredential);

test('a connection is not shared if anything differs that decided where it goes, as whom, and why it is trusted', () => {
  const keys = [
    keyOf(),
    keyOf({ id: 3 }),
    keyOf({ host: 'other.test' }),
    keyOf({ port: 2222 }),
    keyOf({ hostKeys: ['SHA256:one'] }),
    keyOf({ hostAuthorities: [{ publicKey: 'ssh-ed25519 AAAA' }] as never }),
    keyOf({ revokedHostKeys: ['SHA256:three'] }),
    keyOf({ algorithms: 'legacy' }),
    keyOf({ jumps: [jump] }),
    keyOf({ jumps: [jump, jump] }),
    keyOf({ jumps: [{ ...jump, credential: { ...credential, version: 2 } }] }),
    keyOf({}, { id: '8' }),
    keyOf({}, { version: 2 }),
    keyOf({}, { user: 'root' }),
  ];
  expect(new Set(keys).size).toBe(keys.length);
});

test('a connection is shared whatever the order of the host keys, and whatever has no part in it', () => {
  expect(keyOf({ hostKeys: ['SHA256:two', 'SHA256:one'] })).toBe(keyOf());
  expect(keyOf({ name: 'renamed', maxConnections: 3, hostAuthorities: [], jumps: [] })).toBe(keyOf());
});
