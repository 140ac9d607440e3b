// Segments, their agents, and how a new agent is enrolled.
import { type Static, Type } from 'typebox';
import { SignedRosterSchema } from '../../agent/server-messages.ts';
import { Closed, Id, Nullable, Page, Timestamp } from '../common.ts';
import { Description } from '../text.ts';
import { PublicKeySchema } from './segment-roster.ts';

const SegmentName = Type.String({
  minLength: 1,
  maxLength: 63,
  pattern: '^[a-z0-9]([a-z0-9-]*[a-z0-9])?$',
  description: 'Lowercase letters, digits and hyphens',
});

export const segmentHealths = ['no_agent', 'healthy', 'degraded', 'offline'] as const;
export const SegmentSchema = Type.Object({
  id: Id,
  name: Type.String(),
  description: Type.String(),
  /** How long an agent may be silent before what it ran counts as unknown, in seconds. */
  unknownAfter: Type.Integer(),
  root: Type.Enum(['managed', 'owner_held']),
  rootFingerprint: Type.String(),
  /** What an owner-held root is to sign; null where nothing is, and for a managed root. */
  toSign: Nullable(
    Type.Object({
      admit: Type.Array(Type.String(), {
        description: 'Names of agents that are enrolled and not in the roster',
      }),
      remove: Type.Array(Type.String(), { description: 'Names of revoked agents that are still in it' }),
      rekey: Type.Optional(
        Type.Array(Type.String(), {
          description: 'Names of agents whose new keys the roster does not name yet',
        }),
      ),
      newKey: Type.Boolean({
        description: 'Whether an agent has made a segment key that the roster does not name',
      }),
    }),
  ),
  /**
   * Agents that say to have seen a newer roster than the server has: they refuse what comes before it. So it is where the
   * database was set back; but each says it of itself, and nothing proves it. None of an older server.
   */
  lostRoster: Type.Optional(
    Nullable(
      Type.Object({
        agents: Type.Array(
          Type.Object({
            name: Type.String(),
            rosterNumber: Type.Integer({ description: 'Of the newest roster that it says to have seen' }),
          }),
        ),
      }),
    ),
  ),
  /** Generation of the segment key, 0 before the first agent. */
  keyGeneration: Type.Integer(),
  health: Type.Enum(segmentHealths),
  targetCount: Type.Integer(),
  /** Steps ready and not leased. */
  waitingSteps: Type.Integer(),
  /** Since when an agent is awaited that makes a new segment key, because one that has the current was revoked. */
  keyRotationWantedAt: Nullable(Timestamp),
  /** Credentials that a revoked agent can open: their secrets are to be changed on the targets, then sealed anew. */
  credentialsToRotate: Type.Integer(),
  createdAt: Timestamp,
});
export type Segment = Static<typeof SegmentSchema>;
export const SegmentListSchema = Type.Object({
  ...Page(SegmentSchema).properties,
  named: Type.Array(Type.Object({ id: Id, name: Type.String() }), {
    description: 'Segments of which the caller sees no more than the name, because of targets in them',
  }),
});
const UnknownAfter = { minimum: 10, maximum: 86_400 };
/** How long an agent may be silent before what it has begun is unknown, in seconds. */
export const PutUnknownAfterRequestSchema = Closed({ unknownAfter: Type.Integer(UnknownAfter) });
export const CreateSegmentRequestSchema = Closed({
  name: SegmentName,
  description: Type.Optional(Description(1000)),
  unknownAfter: Type.Optional(Type.Integer({ ...UnknownAfter, default: 300 })),
  /** Ed25519 public key of a root that its owner holds. Left out, the server makes the root and keeps it. */
  ownerRoot: Type.Optional(PublicKeySchema),
});

/** What the console and CLI seal a credential to. */
export const SealingKeySchema = Type.Object({
  installationId: Type.String(),
  segmentId: Id,
  generation: Type.Integer({ minimum: 1 }),
  publicKey: Type.String({ description: 'X25519 public key, base64' }),
  /** The root signs the roster, the roster names the key: a client verifies both. */
  rootPublicKey: Type.String(),
  roster: SignedRosterSchema,
});
export type SealingKey = Static<typeof SealingKeySchema>;

export const EnrollmentTokenSchema = Type.Object({
  id: Id,
  token: Type.String({ description: 'Shown once; good for one agent' }),
  expiresAt: Timestamp,
  /** Shell lines for the machine in the segment, in order. The token is not in them. */
  steps: Type.Array(
    Type.Object({
      title: Type.String(),
      /** A line to paste; for saving the token it is the command that takes it on stdin. */
      command: Type.String(),
      /** True for the step at which the token is pasted. */
      takesToken: Type.Boolean(),
    }),
  ),
});
export type EnrollmentTokenReply = Static<typeof EnrollmentTokenSchema>;
