// The segment's X25519 private key, wrapped for one agent (or the recovery key), for one segment and generation.
import { concatBytes, decodeBase64, encodeBase64, encodeFields, equalBytes } from '../encoding.ts';
import { encapsulatedKeyBytes, hpkeOpen, hpkeSeal, hpkeTagBytes } from '../hpke.ts';
import { encryptionPublicKeyOf, generateEncryptionKeyPair, type KeyPair, privateKeyBytes } from '../keys.ts';
import { SealingError } from '../sealing-error.ts';

/** The purpose of a wrap. Opening it takes the same values, so a wrap can't be passed off as another. */
export interface SegmentKeyBinding {
  installationId: string;
  segmentId: number;
  /** Generation of the segment key, from 1. */
  generation: number;
  /** The agent's id, or `recovery` for the segment's offline recovery key. */
  recipient: number | 'recovery';
  /** The segment's X25519 public key of that generation, from a verified roster. */
  segmentPublicKey: Uint8Array;
}

const wrapVersion = 1;
const wrapBytes = 1 + encapsulatedKeyBytes + privateKeyBytes + hpkeTagBytes;
const none = new Uint8Array(0);

/** Makes a segment key, for the first agent of a segment or for a new generation. */
export function generateSegmentKey(): Promise<KeyPair> {
  return generateEncryptionKeyPair();
}

/**
 * Wraps the segment's private key for a recipient. `recipientPublicKey` and `binding.segmentPublicKey` must come from a
 * verified roster and nowhere else: the recipient will be able to open every credential of the generation.
 *
 * @returns base64 of: version 1, the encapsulated key (32 bytes), the ciphertext (48 bytes). 108 characters.
 * @throws {SealingError} `key_mismatch` if the private key is not the segment's.
 */
export async function wrapSegmentKey(input: {
  segmentPrivateKey: Uint8Array;
  recipientPublicKey: Uint8Array;
  binding: SegmentKeyBinding;
}): Promise<string> {
  await assertMatches(input.segmentPrivateKey, input.binding);
  const sealed = await hpkeSeal({
    recipientPublicKey: input.recipientPublicKey,
    info: wrapInfo(input.binding),
    aad: none,
    plaintext: input.segmentPrivateKey,
  });
  return encodeBase64(concatBytes([Uint8Array.of(wrapVersion), sealed.enc, sealed.ciphertext]));
}

/**
 * Opens a wrap, and checks that the key inside is the private half of `binding.segmentPublicKey`. That is needed
 * because HPKE's base mode doesn't authenticate the sender: a wrap that opens may contain a key of somebody else's
 * choosing.
 *
 * @throws {SealingError} `malformed`, `unopenable` (not for this recipient, segment or generation), `key_mismatch`.
 */
export async function unwrapSegmentKey(input: {
  recipientPrivateKey: Uint8Array;
  wrapped: string;
  binding: SegmentKeyBinding;
}): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = decodeBase64(input.wrapped, wrapBytes, 'Wrapped segment key');
  if (bytes[0] !== wrapVersion) {
    throw new SealingError(
      'malformed',
      `Wrapped segment key has version ${bytes[0]}; ${wrapVersion} is known`,
    );
  }
  const segmentPrivateKey = await hpkeOpen({
    recipientPrivateKey: input.recipientPrivateKey,
    info: wrapInfo(input.binding),
    aad: none,
    sealed: {
      enc: bytes.subarray(1, 1 + encapsulatedKeyBytes),
      ciphertext: bytes.subarray(1 + encapsulatedKeyBytes),
    },
  });
  await assertMatches(segmentPrivateKey, input.binding);
  return segmentPrivateKey;
}

function wrapInfo(binding: SegmentKeyBinding): Uint8Array {
  const { installationId, segmentId, generation, recipient, segmentPublicKey } = binding;
  const forWhom = recipient === 'recovery' ? ['recovery'] : ['agent', recipient];
  return encodeFields('segment-key-wrap', [installationId, segmentId, generation, forWhom, segmentPublicKey]);
}

async function assertMatches(privateKey: Uint8Array, binding: SegmentKeyBinding): Promise<void> {
  if (!equalBytes(await encryptionPublicKeyOf(privateKey), binding.segmentPublicKey)) {
    throw new SealingError(
      'key_mismatch',
      `The key is not generation ${binding.generation} of segment ${binding.segmentId}`,
    );
  }
}
