// AES-256-GCM for rows. It is synchronous because output chunks arrive by the thousand per second, and handing one to
// another thread costs more than encrypting it.
import { createCipheriv, createDecipheriv, randomFillSync } from 'node:crypto';
import { encodeFields, type Field } from '@opsconductor/protocol/sealing';
import { AtRestError } from './at-rest-error.ts';

const cipher = 'aes-256-gcm';
const nonceBytes = 12;
const tagBytes = 16;
/** Bytes that sealing adds to a plaintext. */
export const atRestOverheadBytes = nonceBytes + tagBytes;

/**
 * Encrypts a value under a data key. Returns nonce (12 random bytes), ciphertext and tag (16 bytes).
 *
 * With random 96-bit nonces a key may seal at most 2^32 values (NIST SP 800-38D section 8.3; the probability of a
 * repeated nonce is then still below 2^-32). A data key serves one run, job, job import, file or artifact, and
 * must not serve anything wider, such as a table. A run reaches that number after 49 days at 1,000 chunks a second, or
 * after 1 PiB of output in chunks of 256 KiB.
 *
 * @param dataKey 32 bytes from `newDataKey`.
 * @param aad from `aadOf`: the row's keys, which must be known before the INSERT. They keep one row from replacing
 * another.
 * @param into buffer to write to.
 * @throws {RangeError} if `into` isn't `plaintext.length + atRestOverheadBytes` bytes long.
 */
export function sealAtRest(
  dataKey: Uint8Array,
  plaintext: Uint8Array,
  aad: Uint8Array,
  into?: Buffer,
): Buffer {
  const sealed = into ?? Buffer.allocUnsafe(plaintext.length + atRestOverheadBytes);
  if (sealed.length !== plaintext.length + atRestOverheadBytes)
    throw new RangeError('`into` has another length');
  const nonce = randomFillSync(sealed.subarray(0, nonceBytes));
  const encrypt = createCipheriv(cipher, dataKey, nonce, { authTagLength: tagBytes }).setAAD(aad);
  encrypt.update(plaintext).copy(sealed, nonceBytes);
  encrypt.final(); // GCM is a stream: nothing is left to write
  encrypt.getAuthTag().copy(sealed, nonceBytes + plaintext.length);
  return sealed;
}

/**
 * Decrypts what `sealAtRest` returned.
 *
 * @throws {AtRestError} `damaged` if the data key or the row is another one, or bytes were altered.
 */
export function openAtRest(dataKey: Uint8Array, sealed: Uint8Array, aad: Uint8Array): Buffer {
  if (sealed.length < atRestOverheadBytes) throw damaged();
  const tagAt = sealed.length - tagBytes;
  const decrypt = createDecipheriv(cipher, dataKey, sealed.subarray(0, nonceBytes), {
    authTagLength: tagBytes,
  })
    .setAAD(aad)
    .setAuthTag(sealed.subarray(tagAt));
  const plaintext = decrypt.update(sealed.subarray(nonceBytes, tagAt));
  try {
    decrypt.final();
  } catch (cause) {
    throw damaged(cause);
  }
  return plaintext;
}

/**
 * Returns the additional authenticated data of a row: a purpose and the row's keys, as in
 * `aadOf('run_output', runId, step, seq)`. Different arguments never give the same bytes.
 */
export function aadOf(purpose: string, ...fields: readonly Field[]): Uint8Array {
  return encodeFields('at-rest', [purpose, ...fields]);
}

function damaged(cause?: unknown): AtRestError {
  return new AtRestError('damaged', 'An encrypted value was altered or moved, or is under another data key', {
    cause,
  });
}
