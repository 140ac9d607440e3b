// Data keys encrypt the rows; the master key wraps the data keys. A data key is for one run, job, job import, file or
// artifact. Rotating the master key only wraps data keys again and re-encrypts no rows.
import { hkdfSync, randomBytes } from 'node:crypto';
import { AtRestError } from './at-rest-error.ts';
import type { MasterKey } from './master-key.ts';
import { aadOf, openAtRest, sealAtRest } from './seal-at-rest.ts';

const dataKeyBytes = 32;
const saltBytes = 32;
const version = 'dk1';

/** Returns 32 random bytes. */
export function newDataKey(): Buffer {
  return randomBytes(dataKeyBytes);
}

/**
 * Wraps a data key for storage: `dk1.<master key id>.<base64url>`. Each wrap has a key of its own, derived from the
 * master key and a random salt by HKDF-SHA256 (RFC 5869), so a master key may wrap any number of data keys.
 *
 * @param context what the data key is for, such as `run/42`. The same text is needed to unwrap it.
 */
export function wrapDataKey(masterKey: MasterKey, dataKey: Uint8Array, context: string): string {
  const salt = randomBytes(saltBytes);
  const sealed = sealAtRest(wrappingKey(masterKey, salt), dataKey, wrapAad(masterKey.id, context));
  return `${version}.${masterKey.id}.${Buffer.concat([salt, sealed]).toString('base64url')}`;
}

/**
 * Opens a wrapped data key.
 *
 * @throws {AtRestError} `wrong_master_key` if it is wrapped under a master key that isn't held here; `damaged` if the
 * context is another one or the text was altered.
 */
export function unwrapDataKey(masterKey: MasterKey, wrapped: string, context: string): Buffer {
  const id = masterKeyIdOf(wrapped);
  const wrapping = id === masterKey.id ? masterKey : masterKey.find?.(id);
  if (wrapping === undefined) {
    throw new AtRestError(
      'wrong_master_key',
      `A data key is wrapped under master key ${id}, but this server holds ${masterKey.id}`,
    );
  }
  const bytes = Buffer.from(wrapped.slice(wrapped.lastIndexOf('.') + 1), 'base64url');
  const salt = bytes.subarray(0, saltBytes);
  return openAtRest(wrappingKey(wrapping, salt), bytes.subarray(saltBytes), wrapAad(id, context));
}

/** Wraps a data key under another master key. The data key itself, and what it encrypts, stay unchanged. */
export function rewrapDataKey(from: MasterKey, to: MasterKey, wrapped: string, context: string): string {
  return wrapDataKey(to, unwrapDataKey(from, wrapped, context), context);
}

/**
 * Makes a wrap that can't be opened name master key `to` instead, so that nothing needs the key it named. `to` doesn't
 * open it either: the data key is lost.
 */
export function giveUpDataKey(to: MasterKey, wrapped: string): string {
  return `${version}.${to.id}.${wrapped.slice(wrapped.lastIndexOf('.') + 1)}`;
}

/**
 * Returns the id of the master key that a data key is wrapped under.
 *
 * @throws {AtRestError} `damaged` if the text isn't a wrapped data key.
 */
export function masterKeyIdOf(wrapped: string): string {
  const [head, id, body, ...rest] = wrapped.split('.');
  if (head !== version || id === undefined || body === undefined || rest.length > 0) {
    throw new AtRestError('damaged', 'A wrapped data key was altered');
  }
  return id;
}

function wrappingKey(masterKey: MasterKey, salt: Uint8Array): Buffer {
  return Buffer.from(hkdfSync('sha256', masterKey.key, salt, 'opsconductor/v1/data-key-wrap', dataKeyBytes));
}

function wrapAad(masterKeyId: string, context: string): Uint8Array {
  return aadOf('data-key-wrap', masterKeyId, context);
}
