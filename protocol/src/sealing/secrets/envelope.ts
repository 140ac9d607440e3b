// A sealed plaintext: a fresh data key encrypts it, and HPKE seals the data key to the segment. The purpose (the
// context) is authenticated twice, in HPKE's info and as additional data of the cipher.
import type { Static } from 'typebox';
import { SealedCredentialSchema } from '../../agent/lease.ts';
import { decodeBase64, encodeBase64, encodeFields, type Field } from '../encoding.ts';
import { encapsulatedKeyBytes, hpkeOpen, hpkeSeal, hpkeTagBytes } from '../hpke.ts';
import { SealingError } from '../sealing-error.ts';
import { assertShape } from '../shape.ts';

/** `{ v: 1, generation, enc, wrappedKey, nonce, ciphertext }`, bytes as base64. */
export type SealedEnvelope = Static<typeof SealedCredentialSchema>;

const dataKeyBytes = 32;
const nonceBytes = 12;
const lengthBytes = 4;
/** Plaintexts are padded to a multiple of this, to hide their length. */
const paddingBlockBytes = 256;
const maxSealedPlaintextBytes = 128 * 1024;

/**
 * The purpose of an envelope; opening takes the same values. `domain` separates purposes, `fields` identify the object.
 */
export interface EnvelopeContext {
  domain: string;
  fields: readonly Field[];
  /** Generation of the segment key it is sealed to; authenticated with the fields. */
  generation: number;
}

/**
 * Seals bytes to a segment.
 *
 * @throws {SealingError} `malformed` for a plaintext above 128 KiB, or a key that can't be sealed to.
 */
export async function sealEnvelope(
  segmentPublicKey: Uint8Array,
  context: EnvelopeContext,
  plaintext: Uint8Array,
): Promise<SealedEnvelope> {
  const padded = pad(plaintext);
  const dataKey = crypto.getRandomValues(new Uint8Array(dataKeyBytes));
  const nonce = crypto.getRandomValues(new Uint8Array(nonceBytes));
  try {
    const key = await crypto.subtle.importKey('raw', dataKey, 'AES-GCM', false, ['encrypt']);
    const additionalData = contextBytes('data', context);
    const ciphertext = await crypto.subtle.encrypt(
      { name: 'AES-GCM', iv: nonce, additionalData },
      key,
      padded,
    );
    const wrapped = await hpkeSeal({
      recipientPublicKey: segmentPublicKey,
      info: contextBytes('data-key', context),
      aad: new Uint8Array(0),
      plaintext: dataKey,
    });
    return {
      v: 1,
      generation: context.generation,
      enc: encodeBase64(wrapped.enc),
      wrappedKey: encodeBase64(wrapped.ciphertext),
      nonce: encodeBase64(nonce),
      ciphertext: encodeBase64(new Uint8Array(ciphertext)),
    };
  } finally {
    dataKey.fill(0);
    padded.fill(0);
  }
}

/**
 * Opens an envelope made by `sealEnvelope`.
 *
 * @throws {SealingError} `malformed`; `unopenable` for another segment key, another context, or altered bytes.
 */
export async function openEnvelope(
  segmentPrivateKey: Uint8Array,
  context: EnvelopeContext,
  sealed: SealedEnvelope,
): Promise<Uint8Array<ArrayBuffer>> {
  assertShape(SealedCredentialSchema, sealed, 'Sealed value');
  if (sealed.generation !== context.generation) {
    throw new SealingError(
      'unopenable',
      `Sealed to generation ${sealed.generation} of the segment key, not ${context.generation}`,
    );
  }
  const nonce = decodeBase64(sealed.nonce, nonceBytes, 'nonce');
  const ciphertext = decodeBase64(sealed.ciphertext, undefined, 'ciphertext');
  const dataKey = await hpkeOpen({
    recipientPrivateKey: segmentPrivateKey,
    info: contextBytes('data-key', context),
    aad: new Uint8Array(0),
    sealed: {
      enc: decodeBase64(sealed.enc, encapsulatedKeyBytes, 'enc'),
      ciphertext: decodeBase64(sealed.wrappedKey, dataKeyBytes + hpkeTagBytes, 'wrappedKey'),
    },
  });
  try {
    const key = await crypto.subtle.importKey('raw', dataKey, 'AES-GCM', false, ['decrypt']);
    const additionalData = contextBytes('data', context);
    return unpad(
      new Uint8Array(
        await crypto.subtle.decrypt({ name: 'AES-GCM', iv: nonce, additionalData }, key, ciphertext),
      ),
    );
  } catch (cause) {
    if (cause instanceof SealingError) throw cause;
    throw new SealingError('unopenable', 'The sealed value was altered', { cause });
  } finally {
    dataKey.fill(0);
  }
}

function contextBytes(part: 'data' | 'data-key', context: EnvelopeContext): Uint8Array<ArrayBuffer> {
  return encodeFields(`${context.domain}/${part}`, [context.generation, context.fields]);
}

/** Length, plaintext, and zeros up to a whole number of blocks. */
function pad(plaintext: Uint8Array): Uint8Array<ArrayBuffer> {
  if (plaintext.length > maxSealedPlaintextBytes) {
    throw new SealingError('malformed', `Cannot seal more than ${maxSealedPlaintextBytes} bytes`);
  }
  const blocks = Math.ceil((lengthBytes + plaintext.length) / paddingBlockBytes);
  const padded = new Uint8Array(blocks * paddingBlockBytes);
  new DataView(padded.buffer).setUint32(0, plaintext.length);
  padded.set(plaintext, lengthBytes);
  return padded;
}

function unpad(padded: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const length = padded.length < lengthBytes ? -1 : new DataView(padded.buffer).getUint32(0);
  if (length < 0 || lengthBytes + length > padded.length) {
    throw new SealingError('malformed', 'The sealed value has no valid length');
  }
  const plaintext = padded.slice(lengthBytes, lengthBytes + length);
  padded.fill(0);
  return plaintext;
}
