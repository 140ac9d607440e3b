// Enrollment over HTTPS, before the first connection: POST /api/v1/agent/enroll.

import { type Static, Type } from 'typebox';
import { Id } from '../../api/schema-parts.ts';
import { DisplayName } from '../../api/text.ts';
import { Bytes32, Signature } from '../encodings.ts';

export const agentNamePattern = '^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$';

export const EnrollRequestSchema = Type.Object(
  {
    token: Type.String({ minLength: 43, maxLength: 200 }),
    name: Type.String({
      minLength: 1,
      maxLength: 63,
      pattern: agentNamePattern,
      description: 'Lowercase letters, digits, dots and hyphens, with a letter or digit at both ends',
    }),
    signingKey: Bytes32,
    encryptionKey: Bytes32,
    /**
     * Made with the signing key over the enrollment statement (docs/protocol.md); proves that the sender holds the key.
     */
    signature: Signature,
    agentVersion: DisplayName(64),
    platform: DisplayName(64),
  },
  { additionalProperties: false },
);
export const EnrollResponseSchema = Type.Object({
  agentId: Id,
  agentName: Type.String(),
  segmentId: Id,
  segmentName: Type.String(),
  installationId: Type.String(),
  /** The server's Ed25519 identity: every handshake is verified against it. */
  serverKey: Bytes32,
  /** The segment's root, whose fingerprint is in the token; pinned from now on. */
  segmentRoot: Bytes32,
  generation: Type.Integer({ minimum: 0 }),
  generationSignature: Signature,
  /** `true` if the segment has no key yet: this agent makes it and sends it with POST /api/v1/agent/segment-key. */
  makesSegmentKey: Type.Boolean(),
});
/** POST /api/v1/agent/segment-key: the first agent's segment public key, with the private half wrapped for itself. */
export const SegmentKeyRequestSchema = Type.Object(
  {
    agentId: Id,
    segmentPublicKey: Bytes32,
    wrapped: Type.String({ maxLength: 1024 }),
    /** Made with the agent's signing key over the segment key statement (docs/protocol.md). */
    signature: Signature,
  },
  { additionalProperties: false },
);
export const SegmentKeyResponseSchema = Type.Object({
  /** `false` if another agent was first; then a peer wraps the key for this one. */
  accepted: Type.Boolean(),
});
export type EnrollRequest = Static<typeof EnrollRequestSchema>;
export type EnrollResponse = Static<typeof EnrollResponseSchema>;
export type SegmentKeyRequest = Static<typeof SegmentKeyRequestSchema>;
export type SegmentKeyResponse = Static<typeof SegmentKeyResponseSchema>;
