// Bytes: base64 for JSON, and the only encoding of everything that is signed or authenticated. Two different lists of
// fields, or the same list in two domains, never encode to the same bytes.
import { SealingError } from './sealing-error.ts';

/** A field of a signed or authenticated statement. Numbers must be non-negative safe integers. */
export type Field = string | number | Uint8Array | readonly Field[];

const tags = { bytes: 0, text: 1, integer: 2, list: 3 } as const;
const integerBytes = 8;
const loneSurrogate = /\p{Surrogate}/u;
const prefix = 'opsconductor/v1/';
const utf8 = new TextEncoder();

/**
 * Encodes fields in a domain, injectively: each item is a tag byte, a 32-bit big-endian length, and that many bytes
 * (UTF-8 text, raw bytes, a 64-bit big-endian integer, or the items of a nested list); the domain is the first item.
 *
 * @throws {SealingError} `malformed` for a number that is not a non-negative safe integer, or for text with a lone
 * surrogate, which UTF-8 would make equal to other text.
 */
export function encodeFields(domain: string, fields: readonly Field[]): Uint8Array<ArrayBuffer> {
  return concatBytes([encodeItem(prefix + domain), ...fields.map(encodeItem)]);
}

function encodeItem(field: Field): Uint8Array<ArrayBuffer> {
  if (typeof field === 'string') return tagged(tags.text, utf8.encode(wellFormed(field)));
  if (typeof field === 'number') return tagged(tags.integer, encodeInteger(field));
  if (field instanceof Uint8Array) return tagged(tags.bytes, field);
  return tagged(tags.list, concatBytes(field.map(encodeItem)));
}

function tagged(tag: number, content: Uint8Array): Uint8Array<ArrayBuffer> {
  const item = new Uint8Array(5 + content.length);
  item[0] = tag;
  writeInteger(item, 1, 5, content.length);
  item.set(content, 5);
  return item;
}

function encodeInteger(value: number): Uint8Array<ArrayBuffer> {
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new SealingError('malformed', `Only non-negative whole numbers can be signed, not ${value}`);
  }
  const bytes = new Uint8Array(integerBytes);
  writeInteger(bytes, 0, integerBytes, value);
  return bytes;
}

/**
 * Writes big-endian into [start, end). Divides, because safe integers have more bits than shifts; a DataView is slower.
 */
function writeInteger(bytes: Uint8Array, start: number, end: number, value: number): void {
  let rest = value;
  for (let at = end - 1; at >= start; at--) {
    bytes[at] = rest % 256;
    rest = Math.floor(rest / 256);
  }
}

function wellFormed(text: string): string {
  if (loneSurrogate.test(text)) {
    throw new SealingError('malformed', 'Text with a lone surrogate cannot be signed');
  }
  return text;
}

/** Joins byte arrays into a new one. */
export function concatBytes(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const joined = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

/** Compares public bytes; not constant-time, so not for secrets or tags. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** Standard base64 with padding (RFC 4648 section 4). */
export function encodeBase64(bytes: Uint8Array): string {
  const window = 0x8000; // fromCharCode takes characters as arguments, whose number engines limit
  let binary = '';
  for (let at = 0; at < bytes.length; at += window) {
    binary += String.fromCharCode(...bytes.subarray(at, at + window));
  }
  return btoa(binary);
}

/**
 * Decodes standard base64 with padding, only in canonical form: no white space, no stray bits.
 *
 * @param expectedBytes the exact length that the bytes must have, if any.
 * @param what name used in the error, such as `agents[0].signingKey`.
 * @throws {SealingError} `malformed`; the message doesn't contain the text, which may be a secret.
 */
export function decodeBase64(text: string, expectedBytes?: number, what = 'value'): Uint8Array<ArrayBuffer> {
  let bytes: Uint8Array<ArrayBuffer> | undefined;
  try {
    bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  } catch (cause) {
    throw new SealingError('malformed', `${what} is not base64`, { cause });
  }
  if (encodeBase64(bytes) !== text) throw new SealingError('malformed', `${what} is not canonical base64`);
  if (expectedBytes !== undefined && bytes.length !== expectedBytes) {
    throw new SealingError('malformed', `${what} has ${bytes.length} bytes; it must have ${expectedBytes}`);
  }
  return bytes;
}
