// What a whole segment trusts about hosts: certificate authorities, revoked keys, and known_hosts files.
import { type Static, Type } from 'typebox';
import { limits } from '../../limits.ts';
import { Closed, Id, Nullable, Timestamp } from '../schema-parts.ts';
import { Description } from '../text.ts';

export const hostTrustKinds = ['authority', 'revoked'] as const;
export const HostTrustSchema = Type.Object({
  id: Id,
  /** `authority`: its host certificates are accepted. `revoked`: a host key or authority that is refused. */
  kind: Type.Enum(hostTrustKinds),
  /** Hosts that an authority may certify, as an OpenSSH pattern list. */
  hosts: Type.String(),
  keyType: Type.String(),
  fingerprint: Type.String(),
  publicKey: Type.String(),
  note: Type.String(),
  createdAt: Timestamp,
  createdBy: Nullable(Type.String()),
});
export type HostTrust = Static<typeof HostTrustSchema>;
export const HostTrustListSchema = Type.Object({
  items: Type.Array(HostTrustSchema),
  nextCursor: Type.Null(),
});
export const HostPatternList = Type.String({
  minLength: 1,
  maxLength: 1_000,
  pattern: '^!?[A-Za-z0-9_.:*?-]+(,!?[A-Za-z0-9_.:*?-]+)*$',
  description: 'Comma-separated host patterns: `*.example.com,!canary.example.com`',
});
export const CreateHostTrustRequestSchema = Closed({
  kind: Type.Enum(hostTrustKinds),
  publicKey: Type.String({
    minLength: 1,
    maxLength: 16_384,
    description: 'OpenSSH public key line: `ssh-ed25519 AAAA…`',
  }),
  /** By default `*`; only for an authority. */
  hosts: Type.Optional(HostPatternList),
  note: Type.Optional(Description(200)),
});
export type CreateHostTrustRequest = Static<typeof CreateHostTrustRequestSchema>;

/**
 * - `accept`: the target gets the key.
 * - `known`: the target already has it.
 * - `conflict`: another key of that type is accepted, or the key is revoked.
 * - `authority`, `revoke`: for the segment.
 * - `no_target`: the line names no target of the segment.
 * - `unusable`: the line can't be read.
 */
export const knownHostsActions = [
  'accept',
  'known',
  'conflict',
  'authority',
  'revoke',
  'no_target',
  'unusable',
] as const;
export type KnownHostsAction = (typeof knownHostsActions)[number];
export const KnownHostsItemSchema = Type.Object({
  line: Type.Integer(),
  action: Type.Enum(knownHostsActions),
  targetId: Nullable(Id),
  targetName: Nullable(Type.String()),
  /** The host names as they are written on the line, shortened; `(hashed)` for a hashed one. */
  hosts: Type.String(),
  keyType: Nullable(Type.String()),
  fingerprint: Nullable(Type.String()),
  /** The reason, unless it is obvious. */
  message: Nullable(Type.String()),
});
export type KnownHostsItem = Static<typeof KnownHostsItemSchema>;
const knownHostsFields = {
  segmentId: Id,
  content: Type.String({
    minLength: 1,
    maxLength: limits.maxKnownHostsBytes,
    description: 'A known_hosts file',
  }),
};
export const PlanKnownHostsRequestSchema = Closed(knownHostsFields);
export type PlanKnownHostsRequest = Static<typeof PlanKnownHostsRequestSchema>;
export const KnownHostsPlanSchema = Type.Object({
  segmentId: Id,
  counts: Type.Object({
    accept: Type.Integer(),
    known: Type.Integer(),
    conflict: Type.Integer(),
    authority: Type.Integer(),
    revoke: Type.Integer(),
    no_target: Type.Integer(),
    unusable: Type.Integer(),
  }),
  /** Targets that get keys. */
  targets: Type.Integer(),
  /** Covers everything that would be done; the request to apply must name it. */
  digest: Type.String(),
  items: Type.Array(KnownHostsItemSchema),
});
export type KnownHostsPlan = Static<typeof KnownHostsPlanSchema>;
export const ApplyKnownHostsRequestSchema = Closed({
  ...knownHostsFields,
  digest: Type.String({ pattern: '^[0-9a-f]{64}$' }),
  /** Leaves conflicting keys as they are. Without it, a plan with conflicts is refused. */
  skipConflicts: Type.Optional(Type.Boolean()),
});
export type ApplyKnownHostsRequest = Static<typeof ApplyKnownHostsRequestSchema>;
