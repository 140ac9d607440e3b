// Scans: agents look at many targets without logging in; people then review and approve what was found, all at once.
import { type Static, Type } from 'typebox';
import { scanKinds } from '../../agent/server-messages.ts';
import { limits } from '../../limits.ts';
import { Closed, Id, Nullable, Page, pageQuery, Timestamp } from '../schema-parts.ts';
import { RunSelectionSchema, TargetSelectionSchema } from './selection.ts';

const Fingerprint = Type.String({ pattern: '^SHA256:[A-Za-z0-9+/]{43}$' });

export const CreateHostScanRequestSchema = Closed({
  /** `keys`: read the host keys that targets offer. `reach`: only check whether an SSH server answers. */
  kind: Type.Enum(scanKinds),
  selection: TargetSelectionSchema,
});
export type CreateHostScanRequest = Static<typeof CreateHostScanRequestSchema>;

/**
 * - `waiting`: for an agent.
 * - `new`: nothing is accepted for it yet.
 * - `added`: it shows an accepted key, and further keys.
 * - `same`: it shows only accepted keys.
 * - `changed`: it doesn't show what is accepted.
 * - `revoked`: it shows a key that was revoked in its segment.
 * - `certified`: by a host authority of its segment, so none of its keys needs to be accepted.
 * - `reachable`: it answered a probe.
 */
export const scanFindings = [
  'waiting',
  'new',
  'added',
  'same',
  'changed',
  'revoked',
  'certified',
  'reachable',
  'unreachable',
  'cancelled',
] as const;
export type ScanFinding = (typeof scanFindings)[number];

const ReviewSchema = Type.Object({
  targets: Type.Integer(),
  /** Keys that would be accepted. */
  keys: Type.Integer(),
  /** Covers exactly these targets and keys; an approval of all of them must name it. */
  digest: Type.String(),
  mayApprove: Type.Optional(
    Type.Boolean({ description: 'Whether the caller may accept all of them; only in `GET` of the scan' }),
  ),
});
export const HostScanSchema = Type.Object({
  id: Id,
  kind: Type.Enum(scanKinds),
  /** How its targets were selected; `null` for a caller who may not read everywhere. */
  selection: Nullable(RunSelectionSchema),
  createdAt: Timestamp,
  createdBy: Nullable(Type.String()),
  completedAt: Nullable(Timestamp),
  cancelledAt: Nullable(Timestamp),
  /** Targets that the caller may see, and how many of them are done. */
  total: Type.Integer(),
  done: Type.Integer(),
});
export type HostScan = Static<typeof HostScanSchema>;
export const HostScanPageSchema = Page(HostScanSchema);
export const HostScanDetailSchema = Type.Object({
  ...HostScanSchema.properties,
  counts: Type.Object(
    Object.fromEntries(scanFindings.map((finding) => [finding, Type.Integer()])) as Record<
      ScanFinding,
      ReturnType<typeof Type.Integer>
    >,
  ),
  /** Targets that show a key which another target of the scan also shows, such as clones of a machine. */
  shared: Type.Integer(),
  review: Type.Object({ new: ReviewSchema, added: ReviewSchema }),
  /** Why targets wait, one sentence for each reason. */
  notices: Type.Array(Type.String()),
});
export type HostScanDetail = Static<typeof HostScanDetailSchema>;

export const HostScanItemSchema = Type.Object({
  targetId: Id,
  name: Type.String(),
  segmentId: Id,
  segmentName: Type.String(),
  /** The address that was tried; `null` while it waits. */
  host: Nullable(Type.String()),
  port: Nullable(Type.Integer()),
  finding: Type.Enum(scanFindings),
  reason: Nullable(Type.String()),
  message: Nullable(Type.String()),
  advice: Nullable(Type.String()),
  latencyMs: Nullable(Type.Number()),
  serverVersion: Nullable(Type.String()),
  finishedAt: Nullable(Timestamp),
  agentName: Nullable(Type.String()),
  keys: Type.Array(
    Type.Object({
      keyType: Type.String(),
      fingerprint: Type.String(),
      accepted: Type.Boolean(),
      revoked: Type.Boolean(),
      /** How many other targets of the scan show the key, and the first of their names. */
      sharedBy: Type.Integer(),
      sharedWith: Type.Array(Type.String()),
    }),
  ),
  /** Keys that are accepted for it now. */
  accepted: Type.Array(
    Type.Object({ keyType: Type.String(), fingerprint: Type.String(), source: Type.String() }),
  ),
  certified: Nullable(Type.Object({ authority: Type.String(), keyId: Type.String() })),
  certificateProblem: Nullable(Type.String()),
  mayApprove: Type.Optional(Type.Boolean({ description: 'Whether the caller may accept its keys' })),
});
export type HostScanItem = Static<typeof HostScanItemSchema>;
export const HostScanItemQuerySchema = Closed({
  ...pageQuery,
  finding: Type.Optional(Type.Enum(scanFindings)),
  /** Only targets that share a key with another. */
  shared: Type.Optional(Type.Boolean()),
  /** Part of the name or host. */
  search: Type.Optional(Type.String({ maxLength: 100 })),
});
export type HostScanItemQuery = Static<typeof HostScanItemQuerySchema>;
export const HostScanItemPageSchema = Page(HostScanItemSchema);

/** At least one of the three. Applied as a whole or not at all. */
export const ApproveHostKeysRequestSchema = Closed({
  /** All keys with one finding, identified by the digest under which they were shown. */
  all: Type.Optional(
    Closed({
      finding: Type.Enum(['new', 'added']),
      digest: Type.String({ pattern: '^[0-9a-f]{64}$' }),
    }),
  ),
  /** Selected keys of targets that are new or added. */
  keys: Type.Optional(
    Type.Array(Closed({ targetId: Id, fingerprint: Fingerprint }), {
      minItems: 1,
      maxItems: limits.maxTargetsPerRun,
    }),
  ),
  /** Changed targets, one by one: the keys to accept instead of those accepted now. */
  replace: Type.Optional(
    Type.Array(
      Closed({
        targetId: Id,
        fingerprints: Type.Array(Fingerprint, { minItems: 1, maxItems: 8, uniqueItems: true }),
        /** Exactly the keys that are accepted now. */
        replaces: Type.Array(Fingerprint, {
          minItems: 1,
          maxItems: limits.maxHostKeysPerTarget,
          uniqueItems: true,
        }),
      }),
      { minItems: 1, maxItems: 1_000 },
    ),
  ),
});
export type ApproveHostKeysRequest = Static<typeof ApproveHostKeysRequestSchema>;
export const ApproveHostKeysReplySchema = Type.Object({
  targets: Type.Integer(),
  keys: Type.Integer(),
  /** Accepted keys that were removed. */
  replaced: Type.Integer(),
});
export type ApproveHostKeysReply = Static<typeof ApproveHostKeysReplySchema>;
