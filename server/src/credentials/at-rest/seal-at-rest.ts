// AES-256-GCM for rows, synchronous: output chunks come by the thousand per second, and a hop to a thread costs more
// than encrypting one.
import { createCipheriv, createDecipheriv, randomFillSync } from 'node:crypto';
import { encodeFields, type Field } from '@opsconductor/protocol/sealing';
import { AtRestError } from './at-rest-error.ts';

const cipher = 'aes-256-gcm';
const nonceBytes = 12;
const tagBytes = 16;
/** Bytes by which a sealed value is longer than its plaintext. */
export const atRestOverheadBytes = nonceBytes + tagBytes;

/**
 * Encrypts a value under a data key: nonce (12 random bytes), ciphertext, tag (16 bytes).
 *
 * With random 96-bit nonces a key may seal at most 2^32 values (NIST SP 800-38D section 8.3; a repeated nonce is then
 * still rarer than 2^-32). A data key serves one run or one job: at 1,000 chunks a second a run comes there after 49
 * days, and after 1 PiB of output in chunks of 256 KiB. It must not serve anything wider, such as a table.
 *
 * @param dataKey 32 bytes, of `newDataKey`.
 * @param aad from `aadOf`: the row's keys, known before the INSERT, so that no row can stand in for another.
 * @param into where to write it.
 * @throws {RangeError} when `into` is not of `plaintext.length + atRestOverheadBytes` bytes.
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
 * Decrypts what `sealAtRest` made.
 *
 * @throws {AtRestError} `damaged`: another data key, another row, or altered bytes.
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
 * Additional authenticated data of a row: a purpose and the row's keys, as `aadOf('run_output', runId, step, seq)`.
 * Different lists never give the same bytes.
 */
export function aadOf(purpose: string, ...fields: readonly Field[]): Uint8Array {
  return encodeFields('at-rest', [purpose, ...fields]);
}

function damaged(cause?: unknown): AtRestError {
  return new AtRestError('damaged', 'An encrypted value was altered or moved, or is under another data key', {
    cause,
  });
}
