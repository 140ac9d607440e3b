// Segments, their agents, and how a new agent is enrolled.
import { type Static, Type } from 'typebox';
import { SignedRosterSchema } from '../../agent/server-messages.ts';
import { limits } from '../../limits.ts';
import { MadeWithSchema } from '../people/made-with.ts';
import type { Permission } from '../people/permissions.ts';
import { Closed, Id, Nullable, Page, pageQuery, Timestamp } from '../schema-parts.ts';
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
  /** How long an agent may be silent before its running steps count as unknown, in seconds. */
  unknownAfter: Type.Integer(),
  root: Type.Enum(['managed', 'owner_held']),
  rootFingerprint: Type.String(),
  /** What the owner still has to sign; `null` if nothing, or if the root is managed. */
  toSign: Nullable(
    Type.Object({
      admit: Type.Array(Type.String(), {
        description: 'Names of enrolled agents that are not in the roster yet',
      }),
      remove: Type.Array(Type.String(), {
        description: 'Names of revoked agents that are still in the roster',
      }),
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
   * Agents that claim to have seen a newer roster than the server has; they refuse the older one. This happens when the
   * database was restored from a backup, but it is only each agent's claim: nothing proves it. Missing from older
   * servers.
   */
  lostRoster: Type.Optional(
    Nullable(
      Type.Object({
        agents: Type.Array(
          Type.Object({
            name: Type.String(),
            rosterNumber: Type.Integer({
              description: 'Number of the newest roster that it claims to have seen',
            }),
          }),
        ),
      }),
    ),
  ),
  /** Generation of the segment key; 0 before the first agent. */
  keyGeneration: Type.Integer(),
  health: Type.Enum(segmentHealths),
  targetCount: Type.Integer(),
  /** Steps that are ready but not leased. */
  waitingSteps: Type.Integer(),
  /** Since when an agent is needed to make a new segment key, because an agent that has the current one was revoked. */
  keyRotationWantedAt: Nullable(Timestamp),
  /** Credentials that a revoked agent can open: change their secrets on the targets, then seal the new ones. */
  credentialsToRotate: Type.Integer(),
  createdAt: Timestamp,
});
export type Segment = Static<typeof SegmentSchema>;
export const SegmentListSchema = Type.Object({
  ...Page(SegmentSchema).properties,
  named: Type.Array(Type.Object({ id: Id, name: Type.String() }), {
    description: 'Segments of which the caller sees only the name, because they may see targets in them',
  }),
  nextNamedCursor: Type.Optional(
    Nullable(
      Type.String({ description: 'Pass as `namedCursor` for more of `named`; null if these are the last' }),
    ),
  ),
});
/** What the forms of the console ask about segments: on which of them the caller may do it. */
export const segmentListPermissions = [
  'targets.edit',
  'credentials.edit',
  'agents.enroll',
  'host_keys.approve',
] as const satisfies readonly Permission[];
export const SegmentQuerySchema = Closed({
  ...pageQuery,
  namedCursor: Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 200,
      description: '`nextNamedCursor` of an answer: continues `named`, without `items`; not with `cursor`',
    }),
  ),
  limit: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: limits.maxPageItems,
      description: 'If neither this nor `cursor` is given, all are on one page',
    }),
  ),
  search: Type.Optional(Type.String({ maxLength: 100, description: 'Part of the name' })),
  searchIn: Type.Optional(
    Type.Enum(['agents', 'all_agents'], {
      description:
        'Where else `search` looks: in the name, hostname, address, state and labels of agents that are not revoked, or of all agents',
    }),
  ),
  permission: Type.Optional(
    Type.Enum(segmentListPermissions, {
      description:
        'Only segments that the caller may read and holds this permission on; `named` is then empty',
    }),
  ),
});
export type SegmentQuery = Static<typeof SegmentQuerySchema>;
const UnknownAfter = { minimum: 10, maximum: 86_400 };
/** How long an agent may be silent before its running steps count as unknown, in seconds. */
export const PutUnknownAfterRequestSchema = Closed({ unknownAfter: Type.Integer(UnknownAfter) });
export const CreateSegmentRequestSchema = Closed({
  name: SegmentName,
  description: Type.Optional(Description(1000)),
  unknownAfter: Type.Optional(Type.Integer({ ...UnknownAfter, default: 300 })),
  /** Ed25519 public key of a root that its owner holds. If omitted, the server makes the root and keeps it. */
  ownerRoot: Type.Optional(PublicKeySchema),
});

/** What the console and the CLI seal a credential to. */
export const SealingKeySchema = Type.Object({
  installationId: Type.String(),
  segmentId: Id,
  generation: Type.Integer({ minimum: 1 }),
  publicKey: Type.String({ description: 'X25519 public key, base64' }),
  /** The root signs the roster, and the roster names the key: clients verify both. */
  rootPublicKey: Type.String(),
  roster: SignedRosterSchema,
});
export type SealingKey = Static<typeof SealingKeySchema>;

export const EnrollmentTokenReplySchema = Type.Object({
  id: Id,
  token: Type.String({ description: 'Shown once; valid for one agent' }),
  expiresAt: Timestamp,
  caution: Type.Optional(
    Type.String({
      description: 'What keeps the commands from working on other machines; absent if nothing does',
    }),
  ),
  /** Shell commands to run on the machine in the segment, in order. None contains the token. */
  steps: Type.Array(
    Type.Object({
      title: Type.String(),
      /** A line to paste. The one that saves the token reads it from stdin. */
      command: Type.String(),
      /** `true` for the step at which the token is pasted. */
      takesToken: Type.Boolean(),
    }),
  ),
});
export type EnrollmentTokenReply = Static<typeof EnrollmentTokenReplySchema>;

/** A token that was not used and has not expired; the token itself is not kept. */
export const PendingEnrollmentTokenSchema = Type.Object({
  id: Id,
  createdBy: Type.Union([Type.String(), Type.Null()], { description: 'Null if the user was deleted' }),
  createdAt: Timestamp,
  expiresAt: Timestamp,
  madeWith: Type.Optional(Nullable(MadeWithSchema)),
  admitsNobody: Nullable(
    Type.Enum(['maker_deleted', 'maker_deactivated', 'maker_lost_right'], {
      description:
        'Null if an agent can be enrolled with it; otherwise why not: its maker was deleted or deactivated, or may no longer enroll agents here',
    }),
  ),
});
export type PendingEnrollmentToken = Static<typeof PendingEnrollmentTokenSchema>;
