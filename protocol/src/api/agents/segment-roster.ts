// What the owner of a segment signs: the roster as it is, and what is known of agents and keys that it does not name yet.
import { type Static, Type } from 'typebox';
import { SignedRosterSchema } from '../../agent/server-messages.ts';
import { Closed, Id, Nullable } from '../common.ts';

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
  /** All agents of the segment that were enrolled, whether the roster names them or not. */
  agents: Type.Array(
    Type.Object({
      id: Id,
      name: Type.String(),
      state: Type.Enum(['active', 'disabled', 'quarantined', 'revoked']),
      signingKey: PublicKeySchema,
      encryptionKey: PublicKeySchema,
    }),
  ),
  /** Keys that members have made in the place of their own, signed by those that the roster names; none of an older server. */
  keyChanges: Type.Optional(
    Type.Array(
      Type.Object({
        agentId: Id,
        signingKey: PublicKeySchema,
        encryptionKey: PublicKeySchema,
        /** By the agent, over the key change statement (docs/protocol.md). */
        signature: Type.String({ maxLength: 128 }),
      }),
    ),
  ),
  /** Agents that say to have seen a newer roster than this one; nothing of an older server. */
  seenNewer: Type.Optional(
    Type.Array(Type.Object({ name: Type.String(), rosterNumber: Type.Integer({ minimum: 0 }) })),
  ),
  /** Segment keys that agents have made and that wait for a roster that names one of each generation. */
  offers: Type.Array(
    Type.Object({
      agentId: Id,
      generation: Type.Integer({ minimum: 1 }),
      publicKey: PublicKeySchema,
      /** Wrapped for the agent that made it. */
      wrapped: Type.String({ maxLength: 1024 }),
      /** By the agent, over the segment key statement (docs/protocol.md). */
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
  /** X25519, as the newest roster names it; null where it names none. */
  recoveryKey: Nullable(PublicKeySchema),
  /** By agents, for that key. */
  wraps: Type.Array(RecoveryWrap),
});
export type SegmentRecovery = Static<typeof SegmentRecoverySchema>;

export const PostRecoveredKeysRequestSchema = Closed({
  /** Whom they are wrapped for. */
  agentId: Id,
  wraps: Type.Array(Closed(RecoveryWrap.properties), { minItems: 1, maxItems: 1024 }),
});
export const RecoveredKeysSchema = Type.Object({
  stored: Type.Array(Type.Integer(), { description: 'Generations; the agent has the others already' }),
});
