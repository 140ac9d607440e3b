// HPKE (RFC 9180), base mode, one shot: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM.
import { Aes256Gcm, CipherSuite, DhkemX25519HkdfSha256, HkdfSha256 } from '@hpke/core';
import { encryptionPublicKeyOf } from './keys.ts';
import { SealingError } from './sealing-error.ts';

/** Length of the encapsulated key (`enc`). */
export const encapsulatedKeyBytes = 32;
/** Number of bytes by which a ciphertext is longer than its plaintext. */
export const hpkeTagBytes = 16;

/** Exported for the known-answer tests; everything else uses `hpkeSeal` and `hpkeOpen`. */
export const hpkeSuite = new CipherSuite({
  kem: new DhkemX25519HkdfSha256(),
  kdf: new HkdfSha256(),
  aead: new Aes256Gcm(),
});

export interface HpkeSealed {
  enc: Uint8Array<ArrayBuffer>;
  ciphertext: Uint8Array<ArrayBuffer>;
}

/**
 * Seals to a public key. `info` and `aad` come from `encodeFields`; they aren't part of the result, and opening it
 * takes the same values.
 *
 * @throws {SealingError} `malformed` for a public key that can't be sealed to (wrong length, low order).
 */
export async function hpkeSeal(input: {
  recipientPublicKey: Uint8Array;
  info: Uint8Array;
  aad: Uint8Array;
  plaintext: Uint8Array;
}): Promise<HpkeSealed> {
  try {
    const recipientPublicKey = await hpkeSuite.kem.deserializePublicKey(input.recipientPublicKey);
    const sealed = await hpkeSuite.seal({ recipientPublicKey, info: input.info }, input.plaintext, input.aad);
    return { enc: new Uint8Array(sealed.enc), ciphertext: new Uint8Array(sealed.ct) };
  } catch (cause) {
    throw new SealingError('malformed', 'Cannot seal to this public key', { cause });
  }
}

/** Imported key pairs. An agent opens very many seals with one key, and importing it takes longer than opening. */
const recipientPairs = new WeakMap<Uint8Array, ReturnType<typeof importPair>>();

function recipientPair(privateKey: Uint8Array): ReturnType<typeof importPair> {
  const known = recipientPairs.get(privateKey) ?? importPair(privateKey);
  recipientPairs.set(privateKey, known);
  return known;
}

async function importPair(privateKey: Uint8Array) {
  const [imported, publicKey] = await Promise.all([
    hpkeSuite.kem.deserializePrivateKey(privateKey),
    encryptionPublicKeyOf(privateKey).then((bytes) => hpkeSuite.kem.deserializePublicKey(bytes)),
  ]);
  return { privateKey: imported, publicKey };
}

/**
 * Opens what `hpkeSeal` made. The bytes of the private key must not change afterwards.
 *
 * @throws {SealingError} `unopenable` for another key, another `info` or `aad`, or altered bytes, which look the same.
 */
export async function hpkeOpen(input: {
  recipientPrivateKey: Uint8Array;
  info: Uint8Array;
  aad: Uint8Array;
  sealed: { enc: Uint8Array; ciphertext: Uint8Array };
}): Promise<Uint8Array<ArrayBuffer>> {
  try {
    const recipientKey = await recipientPair(input.recipientPrivateKey);
    const opened = await hpkeSuite.open(
      { recipientKey, enc: input.sealed.enc, info: input.info },
      input.sealed.ciphertext,
      input.aad,
    );
    return new Uint8Array(opened);
  } catch (cause) {
    throw new SealingError('unopenable', 'Sealed with another key or for another purpose, or altered', {
      cause,
    });
  }
}
