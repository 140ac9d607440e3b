// What the owner of a segment signs: the current roster, plus the agents and keys that it doesn't name yet.
import { type Static, Type } from 'typebox';
import { SignedRosterSchema } from '../../agent/server-messages.ts';
import { Closed, Id, Nullable } from '../schema-parts.ts';

/** Base64 of 32 bytes. */
export const PublicKeySchema = Type.String({
  minLength: 44,
  maxLength: 44,
  pattern: '^[A-Za-z0-9+/]{43}=$',
  description: '32 bytes, base64',
});

export const SegmentRosterSchema = Type.Object({
  installationId: Type.String(),
  segmentId: Id,
  segmentName: Type.String(),
  root: Type.Enum(['managed', 'owner_held']),
  rootPublicKey: PublicKeySchema,
  /** Null before the first one. */
  roster: Nullable(SignedRosterSchema),
  /** All agents that were enrolled in the segment, whether or not the roster names them. */
  agents: Type.Array(
    Type.Object({
      id: Id,
      name: Type.String(),
      state: Type.Enum(['active', 'disabled', 'quarantined', 'revoked']),
      signingKey: PublicKeySchema,
      encryptionKey: PublicKeySchema,
    }),
  ),
  /**
   * New keys that members made to replace their own, signed with the keys in the roster; missing from older servers.
   */
  keyChanges: Type.Optional(
    Type.Array(
      Type.Object({
        agentId: Id,
        signingKey: PublicKeySchema,
        encryptionKey: PublicKeySchema,
        /** Made by the agent over the key change statement (docs/protocol.md). */
        signature: Type.String({ maxLength: 128 }),
      }),
    ),
  ),
  /** Agents that claim to have seen a newer roster than this one; missing from older servers. */
  seenNewer: Type.Optional(
    Type.Array(Type.Object({ name: Type.String(), rosterNumber: Type.Integer({ minimum: 0 }) })),
  ),
  /** Segment keys made by agents, until a roster names one of each generation. */
  offers: Type.Array(
    Type.Object({
      agentId: Id,
      generation: Type.Integer({ minimum: 1 }),
      publicKey: PublicKeySchema,
      /** Wrapped for the agent that made it. */
      wrapped: Type.String({ maxLength: 1024 }),
      /** Made by the agent over the segment key statement (docs/protocol.md). */
      signature: Type.String({ maxLength: 128 }),
    }),
  ),
});
export type SegmentRoster = Static<typeof SegmentRosterSchema>;

export const PostRosterRequestSchema = Closed({
  payload: Type.String({ minLength: 1, maxLength: 1_000_000, description: 'The JSON text that was signed' }),
  signature: Type.String({ minLength: 88, maxLength: 88, description: 'By the root of the segment, base64' }),
});

const RecoveryWrap = Type.Object({
  generation: Type.Integer({ minimum: 1, maximum: 2_147_483_647 }),
  /** The segment key of that generation, base64. */
  wrapped: Type.String({ maxLength: 1024 }),
});
export const SegmentRecoverySchema = Type.Object({
  /** X25519 key as the newest roster names it; `null` if it names none. */
  recoveryKey: Nullable(PublicKeySchema),
  /** Wrapped by agents for the recovery key: of each generation, one by every agent that has it. One may not open. */
  wraps: Type.Array(RecoveryWrap),
});
export type SegmentRecovery = Static<typeof SegmentRecoverySchema>;

export const PostRecoveredKeysRequestSchema = Closed({
  /** The agent that the keys are wrapped for. */
  agentId: Id,
  wraps: Type.Array(Closed(RecoveryWrap.properties), { minItems: 1, maxItems: 1024 }),
});
export const RecoveredKeysSchema = Type.Object({
  stored: Type.Array(Type.Integer(), {
    description: 'Generations that were stored; the agent already has the others',
  }),
});
