// An agent's own keys take the place of those before: cross-signed, on the connection that those before have opened.
import { Type } from 'typebox';
import { limits } from '../limits.ts';
import { Bytes32, Signature } from './encodings.ts';

export const newKeysFields = {
  signingKey: Bytes32,
  encryptionKey: Bytes32,
  /** By the signing key that the agent has been known by, over the key change statement (docs/protocol.md). */
  signature: Signature,
  /** By the new one over the same: that its private half is there. */
  ownSignature: Signature,
  /** The segment keys that the agent has, each wrapped for its new encryption key. */
  wraps: Type.Array(
    Type.Object({
      generation: Type.Integer({ minimum: 1, maximum: 2_147_483_647 }),
      wrapped: Type.String({ maxLength: 1024 }),
    }),
    { maxItems: limits.maxKeyGenerations },
  ),
};
