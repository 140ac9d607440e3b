import { beforeAll, describe, expect, it } from 'vitest';
import { decodeBase64, encodeBase64, encodeFields } from '../encoding.ts';
import { hpkeSeal } from '../hpke.ts';
import { generateEncryptionKeyPair, type KeyPair } from '../keys.ts';
import {
  generateSegmentKey,
  type SegmentKeyBinding,
  unwrapSegmentKey,
  wrapSegmentKey,
} from './segment-key.ts';

let segment: KeyPair;
let agent: KeyPair;
let binding: SegmentKeyBinding;
let wrapped: string;

beforeAll(async () => {
  segment = await generateSegmentKey();
  agent = await generateEncryptionKeyPair();
  binding = {
    installationId: 'inst-1',
    segmentId: 7,
    generation: 2,
    recipient: 41,
    segmentPublicKey: segment.publicKey,
  };
  wrapped = await wrapSegmentKey({
    segmentPrivateKey: segment.privateKey,
    recipientPublicKey: agent.publicKey,
    binding,
  });
});

const unwrap = (changes: Partial<SegmentKeyBinding>, text = wrapped) =>
  unwrapSegmentKey({
    recipientPrivateKey: agent.privateKey,
    wrapped: text,
    binding: { ...binding, ...changes },
  });

describe('a wrapped segment key', () => {
  it('opens for the agent it was wrapped for', async () => {
    expect(await unwrap({})).toEqual(segment.privateKey);
  });

  it('is 108 characters', () => {
    expect(wrapped).toHaveLength(108);
  });

  it.each<[string, Partial<SegmentKeyBinding>]>([
    ['agent', { recipient: 42 }],
    ['recipient, the recovery key', { recipient: 'recovery' }],
    ['generation', { generation: 3 }],
    ['segment', { segmentId: 8 }],
    ['installation', { installationId: 'inst-2' }],
    ['segment public key', { segmentPublicKey: new Uint8Array(32).fill(9) }],
  ])('cannot be presented as that of another %s', async (_, changes) => {
    await expect(unwrap(changes)).rejects.toMatchObject({ reason: 'unopenable' });
  });

  it('opens for no other key', async () => {
    const { privateKey } = await generateEncryptionKeyPair();
    await expect(
      unwrapSegmentKey({ recipientPrivateKey: privateKey, wrapped, binding }),
    ).rejects.toMatchObject({ reason: 'unopenable' });
  });

  it('is refused when the key inside is not the one that the roster names', async () => {
    // Anybody can wrap to a public key: here, a thief wraps their own key with the real binding.
    const thief = await generateSegmentKey();
    const sealed = await hpkeSeal({
      recipientPublicKey: agent.publicKey,
      info: encodeFields('segment-key-wrap', ['inst-1', 7, 2, ['agent', 41], segment.publicKey]),
      aad: new Uint8Array(0),
      plaintext: thief.privateKey,
    });
    const forged = encodeBase64(Uint8Array.from([1, ...sealed.enc, ...sealed.ciphertext]));
    await expect(unwrap({}, forged)).rejects.toMatchObject({ reason: 'key_mismatch' });
  });

  it('is not made from a key that is not the segment’s', async () => {
    const other = await generateSegmentKey();
    await expect(
      wrapSegmentKey({ segmentPrivateKey: other.privateKey, recipientPublicKey: agent.publicKey, binding }),
    ).rejects.toMatchObject({ reason: 'key_mismatch' });
  });

  it('is refused in another size or version', async () => {
    await expect(unwrap({}, encodeBase64(new Uint8Array(80)))).rejects.toMatchObject({ reason: 'malformed' });
    const version2 = decodeBase64(wrapped).fill(2, 0, 1);
    await expect(unwrap({}, encodeBase64(version2))).rejects.toThrow('version 2; 1 is known');
  });

  it('opens for the recovery key if it was wrapped for that', async () => {
    const recovery = await generateEncryptionKeyPair();
    const forRecovery: SegmentKeyBinding = { ...binding, recipient: 'recovery' };
    const text = await wrapSegmentKey({
      segmentPrivateKey: segment.privateKey,
      recipientPublicKey: recovery.publicKey,
      binding: forRecovery,
    });
    expect(
      await unwrapSegmentKey({
        recipientPrivateKey: recovery.privateKey,
        wrapped: text,
        binding: forRecovery,
      }),
    ).toEqual(segment.privateKey);
  });
});
