// Ed25519 (RFC 8032) for signing and X25519 (RFC 7748) for sealing, through WebCrypto. Outside this file, keys are
// always raw bytes: 32-byte public keys, and 32-byte private keys (the Ed25519 seed or X25519 scalar), never PKCS #8.
import { concatBytes, decodeBase64, encodeBase64 } from './encoding.ts';
import { SealingError } from './sealing-error.ts';

export const publicKeyBytes = 32;
export const privateKeyBytes = 32;
const signatureBytes = 64;

export interface KeyPair {
  /** 32 bytes, raw. */
  publicKey: Uint8Array<ArrayBuffer>;
  /** 32 bytes, raw: the Ed25519 seed, or the X25519 scalar. */
  privateKey: Uint8Array<ArrayBuffer>;
}

type Algorithm = 'Ed25519' | 'X25519';

// RFC 8410 section 7: for these curves, a PKCS #8 private key is this fixed header plus the 32 raw bytes.
const pkcs8Heads: Record<Algorithm, Uint8Array> = {
  Ed25519: Uint8Array.of(0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20),
  X25519: Uint8Array.of(0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x6e, 4, 0x22, 4, 0x20),
};
const basePointX25519 = Uint8Array.from({ length: 32 }, (_, i) => (i === 0 ? 9 : 0));

/** Generates an Ed25519 key pair. */
export async function generateSigningKeyPair(): Promise<KeyPair> {
  const privateKey = crypto.getRandomValues(new Uint8Array(privateKeyBytes));
  return { publicKey: await signingPublicKeyOf(privateKey), privateKey };
}

/** Generates an X25519 key pair. */
export async function generateEncryptionKeyPair(): Promise<KeyPair> {
  const privateKey = crypto.getRandomValues(new Uint8Array(privateKeyBytes));
  return { publicKey: await encryptionPublicKeyOf(privateKey), privateKey };
}

/** Returns the Ed25519 public key of a private key. The bytes of the key must not change afterwards. */
export async function signingPublicKeyOf(privateKey: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
  const imported = importPrivateKey('Ed25519', privateKey, ['sign'], true);
  signingKeys.set(privateKey, imported);
  const { x } = await crypto.subtle.exportKey('jwk', await imported);
  if (x === undefined)
    throw new SealingError('malformed', 'This platform does not export Ed25519 public keys');
  const binary = atob(x.replaceAll('-', '+').replaceAll('_', '/'));
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}

/** Returns the X25519 public key of a private key: its product with the base point (RFC 7748 section 6.1). */
export async function encryptionPublicKeyOf(privateKey: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
  const key = await importPrivateKey('X25519', privateKey, ['deriveBits'], false);
  const base = await crypto.subtle.importKey('raw', basePointX25519, 'X25519', true, []);
  return new Uint8Array(await crypto.subtle.deriveBits({ name: 'X25519', public: base }, key, 256));
}

/**
 * Imported keys by their bytes: a server signs twice for each agent that connects, and importing takes longer than
 * signing.
 */
const signingKeys = new WeakMap<Uint8Array, ReturnType<typeof importPrivateKey>>();

/**
 * Signs a message with Ed25519. The message must come from `encodeFields`, so that a signature for one purpose never
 * counts for another. The bytes of the key must not change afterwards.
 *
 * @returns 64 bytes.
 */
export async function sign(privateKey: Uint8Array, message: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
  const imported = signingKeys.get(privateKey) ?? importPrivateKey('Ed25519', privateKey, ['sign'], false);
  signingKeys.set(privateKey, imported);
  const key = await imported;
  return new Uint8Array(await crypto.subtle.sign('Ed25519', key, new Uint8Array(message)));
}

/**
 * Whether this is the key's signature of the message. `false`, not an error, for a key or signature of the wrong
 * length.
 */
export async function verify(
  publicKey: Uint8Array,
  message: Uint8Array,
  signature: Uint8Array,
): Promise<boolean> {
  if (publicKey.length !== publicKeyBytes || signature.length !== signatureBytes) return false;
  try {
    const key = await crypto.subtle.importKey('raw', new Uint8Array(publicKey), 'Ed25519', false, ['verify']);
    return await crypto.subtle.verify('Ed25519', key, new Uint8Array(signature), new Uint8Array(message));
  } catch {
    return false; // not a point on the curve: some engines throw on import, others on verify
  }
}

/** Verifies a base64 signature; `false` if it isn't base64 of 64 bytes. */
export async function verifyBase64(
  publicKey: Uint8Array,
  message: Uint8Array,
  signature: string,
): Promise<boolean> {
  let bytes: Uint8Array;
  try {
    bytes = decodeBase64(signature, signatureBytes, 'Signature');
  } catch {
    return false;
  }
  return verify(publicKey, message, bytes);
}

/** Returns `SHA256:` and the unpadded base64 of the key's SHA-256, in OpenSSH's format. */
export async function fingerprint(publicKey: Uint8Array): Promise<string> {
  const digest = await crypto.subtle.digest('SHA-256', new Uint8Array(publicKey));
  return `SHA256:${encodeBase64(new Uint8Array(digest)).replaceAll('=', '')}`;
}

async function importPrivateKey(
  algorithm: Algorithm,
  privateKey: Uint8Array,
  usages: ('sign' | 'deriveBits')[],
  extractable: boolean,
) {
  if (privateKey.length !== privateKeyBytes) {
    throw new SealingError(
      'malformed',
      `A private key has ${privateKeyBytes} bytes, not ${privateKey.length}`,
    );
  }
  const pkcs8 = concatBytes([pkcs8Heads[algorithm], privateKey]);
  try {
    return await crypto.subtle.importKey('pkcs8', pkcs8, algorithm, extractable, usages);
  } finally {
    pkcs8.fill(0);
  }
}
