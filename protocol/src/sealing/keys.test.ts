import { describe, expect, it } from 'vitest';
import {
  encryptionPublicKeyOf,
  fingerprint,
  generateEncryptionKeyPair,
  generateSigningKeyPair,
  sign,
  signingPublicKeyOf,
  verify,
  verifyBase64,
} from './keys.ts';

const hex = (text: string) => Uint8Array.from(Buffer.from(text, 'hex'));

// RFC 8032 section 7.1, TEST 1 and TEST 3.
const rfc8032 = [
  {
    privateKey: '9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60',
    publicKey: 'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a',
    message: '',
    signature:
      'e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b',
  },
  {
    privateKey: 'c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7',
    publicKey: 'fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025',
    message: 'af82',
    signature:
      '6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a',
  },
];

describe('Ed25519', () => {
  it.each(rfc8032)('gives the public key and signature of RFC 8032 for $message', async (vector) => {
    const privateKey = hex(vector.privateKey);
    expect(await signingPublicKeyOf(privateKey)).toEqual(hex(vector.publicKey));
    expect(await sign(privateKey, hex(vector.message))).toEqual(hex(vector.signature));
    expect(await verify(hex(vector.publicKey), hex(vector.message), hex(vector.signature))).toBe(true);
  });

  it('verifies what its own pair signed, and nothing else', async () => {
    const pair = await generateSigningKeyPair();
    const other = await generateSigningKeyPair();
    const message = hex('0102');
    const signature = await sign(pair.privateKey, message);

    expect(await verify(pair.publicKey, message, signature)).toBe(true);
    expect(await verify(other.publicKey, message, signature)).toBe(false);
    expect(await verify(pair.publicKey, hex('0103'), signature)).toBe(false);
    const altered = Uint8Array.from(signature, (byte, at) => (at === 3 ? byte ^ 1 : byte));
    expect(await verify(pair.publicKey, message, altered)).toBe(false);
  });

  it('returns false, without throwing, for invalid keys and signatures', async () => {
    const { publicKey, privateKey } = await generateSigningKeyPair();
    const signature = await sign(privateKey, hex('01'));
    expect(await verify(publicKey.subarray(1), hex('01'), signature)).toBe(false);
    expect(await verify(publicKey, hex('01'), signature.subarray(1))).toBe(false);
    expect(await verify(new Uint8Array(32).fill(255), hex('01'), signature)).toBe(false);
    expect(await verifyBase64(publicKey, hex('01'), 'not base64')).toBe(false);
  });

  it('refuses a private key of another length', async () => {
    await expect(sign(new Uint8Array(48), hex('01'))).rejects.toThrow('has 32 bytes, not 48');
  });
});

describe('X25519', () => {
  it('gives the public keys of RFC 7748 section 6.1', async () => {
    expect(
      await encryptionPublicKeyOf(hex('77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a')),
    ).toEqual(hex('8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a'));
  });

  it('makes a new pair of 32-byte halves each time', async () => {
    const [one, two] = [await generateEncryptionKeyPair(), await generateEncryptionKeyPair()];
    expect([one.publicKey.length, one.privateKey.length]).toEqual([32, 32]);
    expect(one.privateKey).not.toEqual(two.privateKey);
    expect(await encryptionPublicKeyOf(one.privateKey)).toEqual(one.publicKey);
  });
});

it('prints a fingerprint as OpenSSH does: SHA256 and unpadded base64', async () => {
  expect(await fingerprint(new Uint8Array(0))).toBe('SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU');
});
