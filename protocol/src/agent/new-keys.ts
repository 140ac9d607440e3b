// An agent replaces its own keys: cross-signed, on the connection opened with the previous keys.
import { Type } from 'typebox';
import { limits } from '../limits.ts';
import { Bytes32, Signature } from './encodings.ts';

export const newKeysFields = {
  signingKey: Bytes32,
  encryptionKey: Bytes32,
  /** Made with the signing key that the agent has been known by, over the key change statement (docs/protocol.md). */
  signature: Signature,
  /** Made with the new signing key over the same statement; proves that the agent has its private half. */
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
