// What a new agent signs before there is a connection: proof that it holds its keys, and that the segment key is its
// own.
import { encodeFields } from '../encoding.ts';

export interface Enrollment {
  /** The whole enrollment token as it was handed over; ties the signature to this enrollment. */
  token: string;
  name: string;
  /** Raw public keys, 32 bytes each. */
  signingKey: Uint8Array;
  encryptionKey: Uint8Array;
}

/** Returns the bytes that an agent signs with its new signing key in its enrollment request. */
export function enrollmentStatement(enrollment: Enrollment): Uint8Array<ArrayBuffer> {
  const { token, name, signingKey, encryptionKey } = enrollment;
  return encodeFields('enrollment', [token, name, signingKey, encryptionKey]);
}

export interface SegmentKeyOffer {
  installationId: string;
  segmentId: number;
  agentId: number;
  generation: number;
  segmentPublicKey: Uint8Array;
  /** The segment key wrapped for the agent itself, base64 as returned by `wrapSegmentKey`. */
  wrapped: string;
}

/** Returns the bytes that an agent signs when it offers the segment key that it made. */
export function segmentKeyStatement(offer: SegmentKeyOffer): Uint8Array<ArrayBuffer> {
  const { installationId, segmentId, agentId, generation, segmentPublicKey, wrapped } = offer;
  return encodeFields('segment-key-offer', [
    installationId,
    segmentId,
    agentId,
    generation,
    segmentPublicKey,
    wrapped,
  ]);
}
