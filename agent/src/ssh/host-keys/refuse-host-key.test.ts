import { expect, test } from 'vitest';
import { hostKeyBlob, hostKeyFingerprint } from '../host-key.ts';
import { refuseHostKey } from './refuse-host-key.ts';

const line = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE0pT3gqYlbqCUNFxVrlyhVlqTzGkxCKRIMS/qmvzZXf';
const other = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2zYwZtuJcNzPzKxAcYcFcWQ3EZLmFmYqrxZs2EJ8GL';
const blobOf = (text: string) => hostKeyBlob(text) ?? Buffer.alloc(0);

test('a key is accepted by its line, or by a fingerprint given in advance', () => {
  const blob = blobOf(line);
  expect(refuseHostKey('h', blob, { hostKeys: [line] })).toBeUndefined();
  expect(refuseHostKey('h', blob, { hostKeys: [hostKeyFingerprint(blob)] })).toBeUndefined();
});

test('a key that does not match the fingerprint is a mismatch that names both', () => {
  const refusal = refuseHostKey('h', blobOf(other), { hostKeys: [hostKeyFingerprint(blobOf(line))] });
  expect(refusal?.reason).toBe('host_key_mismatch');
  expect(refusal?.message).toContain(hostKeyFingerprint(blobOf(line)));
  expect(refusal?.message).toContain(hostKeyFingerprint(blobOf(other)));
});

test('without an accepted key every key is unknown', () => {
  expect(refuseHostKey('h', blobOf(line), { hostKeys: [] })?.reason).toBe('host_key_unknown');
});
