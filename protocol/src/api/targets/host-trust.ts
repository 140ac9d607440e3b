// What is trusted of hosts in a whole segment: certificate authorities, revoked keys, and known_hosts files.
import { type Static, Type } from 'typebox';
import { limits } from '../../limits.ts';
import { Closed, Id, Nullable, Timestamp } from '../common.ts';
import { Description } from '../text.ts';

export const hostTrustKinds = ['authority', 'revoked'] as const;
export const HostTrustSchema = Type.Object({
  id: Id,
  /** authority: its host certificates are accepted · revoked: a host key, or an authority, that is refused. */
  kind: Type.Enum(hostTrustKinds),
  /** Hosts that an authority may speak for, as OpenSSH has pattern lists. */
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
  description: 'Host patterns with commas between: `*.example.com,!canary.example.com`',
});
export const CreateHostTrustRequestSchema = Closed({
  kind: Type.Enum(hostTrustKinds),
  publicKey: Type.String({
    minLength: 1,
    maxLength: 16_384,
    description: 'OpenSSH public key line: `ssh-ed25519 AAAA…`',
  }),
  /** `*` unless given; of an authority only. */
  hosts: Type.Optional(HostPatternList),
  note: Type.Optional(Description(200)),
});
export type CreateHostTrustRequest = Static<typeof CreateHostTrustRequestSchema>;

/**
 * accept: the target gets the key · known: it has it · conflict: another key of that type is accepted, or the key is
 * revoked · authority, revoke: for the segment · no_target: names no target of the segment · unusable: can't be read.
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
  /** Names of the line as they are there, shortened; `(hashed)` for a hashed one. */
  hosts: Type.String(),
  keyType: Nullable(Type.String()),
  fingerprint: Nullable(Type.String()),
  /** Why, where it is not plain. */
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
  /** Of all that would be done; applying names it. */
  digest: Type.String(),
  items: Type.Array(KnownHostsItemSchema),
});
export type KnownHostsPlan = Static<typeof KnownHostsPlanSchema>;
export const ApplyKnownHostsRequestSchema = Closed({
  ...knownHostsFields,
  digest: Type.String({ pattern: '^[0-9a-f]{64}$' }),
  /** Conflicting keys are left as they are; without it a plan that has any is refused. */
  skipConflicts: Type.Optional(Type.Boolean()),
});
export type ApplyKnownHostsRequest = Static<typeof ApplyKnownHostsRequestSchema>;
