// Targets: hosts that steps run on, their host keys, and connection tests.
import { type Static, Type } from 'typebox';
import { limits } from '../../limits.ts';
import { Changes, Closed, Id, Nullable, Page, pageQuery, Timestamp } from '../schema-parts.ts';
import { Description, namePattern, targetNamePattern } from '../text.ts';
import { connectionProtocols, TargetSettingsSchema } from './connection-settings.ts';
import { SelectorText, TargetSelectionSchema } from './selection.ts';

export const hostKeyStates = ['accepted', 'pending', 'changed'] as const;
/**
 * State of a target's host keys, the most important first: one has changed, else one is accepted, else one is pending.
 */
export const targetKeyStates = ['changed', 'accepted', 'pending', 'none'] as const;
export type TargetKeyState = (typeof targetKeyStates)[number];
export const HostKeySchema = Type.Object({
  keyType: Type.String(),
  /** `SHA256:…`, as OpenSSH prints it. */
  fingerprint: Type.String(),
  /** `pending`: first seen, nothing accepted yet. `changed`: differs from what is accepted, and is refused. */
  state: Type.Enum(hostKeyStates),
  seenAt: Timestamp,
  acceptedAt: Nullable(Timestamp),
  acceptedBy: Nullable(Type.String()),
  /** `connection`: shown to a step or a test, or given as a fingerprint. */
  source: Type.Enum(['connection', 'scan', 'known_hosts']),
});
export type HostKey = Static<typeof HostKeySchema>;

export const operatingSystems = ['linux', 'windows', 'other'] as const;
export type OperatingSystem = (typeof operatingSystems)[number];

/** Names that selectors use themselves, so that labels can't have them. */
export const reservedLabelNames = [
  'and',
  'group',
  'host',
  'in',
  'name',
  'not',
  'notin',
  'or',
  'os',
  'segment',
] as const;
export const labelNamePattern = `^(?!(?:${reservedLabelNames.join('|')})$)[A-Za-z0-9](?:[A-Za-z0-9_./-]*[A-Za-z0-9])?$`;
export const LabelName = Type.String({
  maxLength: 63,
  pattern: labelNamePattern,
  description: `Letters, digits, dots, slashes, hyphens and underscores; none of ${reservedLabelNames.join(', ')}`,
});
/** Name to value; an empty string for a label without a value. */
export const LabelsSchema = Type.Record(
  LabelName,
  Type.String({
    maxLength: 255,
    pattern: namePattern,
    description: 'One line of visible text; may be empty',
  }),
  { additionalProperties: false, maxProperties: limits.maxLabels },
);
export type Labels = Static<typeof LabelsSchema>;

/** `ok`: reached and logged in at the last try. `failing`: not. `never`: not tried yet, or not since how it is reached was
 * changed. */
export const targetHealths = ['ok', 'failing', 'never'] as const;
export type TargetHealth = (typeof targetHealths)[number];

export const TargetSchema = Type.Object({
  id: Id,
  name: Type.String(),
  segmentId: Id,
  segmentName: Type.String(),
  host: Type.String(),
  /** The target's own; `null`: inherited. */
  port: Nullable(Type.Integer()),
  /** The target's own; `null`: inherited. */
  credentialId: Nullable(Type.String()),
  credentialName: Nullable(Type.String()),
  operatingSystem: Type.Enum(operatingSystems),
  labels: LabelsSchema,
  description: Type.String(),
  /** The target's own settings. */
  settings: TargetSettingsSchema,
  /** An inactive target is kept, but no run uses it. */
  isActive: Type.Boolean(),
  /** Groups that it is in, as far as the caller may see them. */
  groups: Type.Array(Type.Object({ id: Id, name: Type.String() })),
  /** The settings that apply to it, inherited or not, without regard to a job. */
  effective: Type.Object({
    protocol: Type.Enum(connectionProtocols),
    port: Type.Integer(),
    credentialId: Nullable(Type.String()),
    credentialName: Nullable(Type.String()),
  }),
  health: Type.Enum(targetHealths),
  /** The last try to reach it, by a step or a test. */
  lastContact: Nullable(Type.Object({ at: Timestamp, ok: Type.Boolean(), reason: Nullable(Type.String()) })),
  /**
   * When how it is reached was changed, or the host key accepted that it was refused for, if it was tried before and has
   * not been since.
   */
  untriedSince: Type.Optional(Timestamp),
  /** The last scan or probe: whether an SSH server answered, without a login. */
  lastProbe: Nullable(
    Type.Object({
      at: Timestamp,
      ok: Type.Boolean(),
      reason: Nullable(Type.String()),
      latencyMs: Nullable(Type.Number()),
    }),
  ),
  hostKeys: Type.Array(HostKeySchema),
  createdAt: Timestamp,
  updatedAt: Timestamp,
});
export type Target = Static<typeof TargetSchema>;

const octet = '(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])';
/**
 * Digits and dots alone are an IPv4 address of four parts: some resolvers read `10.1` and `010.0.0.1` as addresses, and
 * others as names. One colon alone is not in an IPv6 address: it stands before a port, which has a field of its own.
 */
export const hostPattern = `^(?:(?=${octet}(?:\\.${octet}){3}$)|(?![0-9.]+$))(?![^:]*:[^:]*$)[A-Za-z0-9:]([A-Za-z0-9_.:-]*[A-Za-z0-9:.])?$`;
const Host = Type.String({
  minLength: 1,
  maxLength: 253,
  pattern: hostPattern,
  description: 'Host name or IP address, without port, brackets or zone, as seen from inside the segment',
});
const targetFields = {
  name: Type.String({
    minLength: 1,
    maxLength: 100,
    pattern: targetNamePattern,
    description: 'Letters, digits, spaces, dots, hyphens and underscores',
  }),
  host: Host,
  /** `null`: inherited. */
  port: Type.Optional(Nullable(Type.Integer({ minimum: 1, maximum: 65_535 }))),
  /** `null`: inherited. */
  credentialId: Type.Optional(Nullable(Type.String({ format: 'uuid' }))),
  operatingSystem: Type.Optional(Type.Enum(operatingSystems)),
  labels: Type.Optional(LabelsSchema),
  description: Type.Optional(Description(1000)),
  settings: Type.Optional(TargetSettingsSchema),
  isActive: Type.Optional(Type.Boolean()),
};
export const CreateTargetRequestSchema = Closed({
  segmentId: Id,
  ...targetFields,
  /** A fingerprint known from elsewhere: the first connection must present this key. */
  hostKeyFingerprint: Type.Optional(Type.String({ pattern: '^SHA256:[A-Za-z0-9+/]{43}$' })),
});
/** Omitted fields stay as they are. */
export const UpdateTargetRequestSchema = Changes({
  ...targetFields,
  name: Type.Optional(targetFields.name),
  host: Type.Optional(targetFields.host),
});
export type CreateTargetRequest = Static<typeof CreateTargetRequestSchema>;
export type UpdateTargetRequest = Static<typeof UpdateTargetRequestSchema>;
export const TargetQuerySchema = Closed({
  ...pageQuery,
  segmentId: Type.Optional(Id),
  /** Only members of this target group. */
  groupId: Type.Optional(Id),
  selector: Type.Optional(SelectorText),
  operatingSystem: Type.Optional(Type.Enum(operatingSystems)),
  isActive: Type.Optional(Type.Boolean()),
  health: Type.Optional(Type.Enum(targetHealths)),
  hostKey: Type.Optional(Type.Enum(targetKeyStates)),
  /** Part of the name or host. */
  search: Type.Optional(Type.String({ maxLength: 100 })),
  /** Whether `total` reports the count over all pages. */
  count: Type.Optional(Type.Boolean()),
});
export const TargetPageSchema = Type.Object({
  ...Page(TargetSchema).properties,
  /** Only with `count=true`. */
  total: Type.Optional(Type.Integer()),
});
export type TargetPage = Static<typeof TargetPageSchema>;

/** Changes all selected targets, or none. At least one change must be given. */
export const BulkTargetRequestSchema = Closed({
  selection: TargetSelectionSchema,
  setLabels: Type.Optional(LabelsSchema),
  unsetLabels: Type.Optional(Type.Array(LabelName, { minItems: 1, maxItems: 64, uniqueItems: true })),
  /** Lists them in the group, and removes them from its exclusions. */
  addToGroupId: Type.Optional(Id),
  /** Removes them from the group's list, and excludes those that its selector matches. */
  removeFromGroupId: Type.Optional(Id),
  isActive: Type.Optional(Type.Boolean()),
  /** A credential of the segment that all of them are in; `null`: each inherits one. */
  credentialId: Type.Optional(Nullable(Type.String({ format: 'uuid' }))),
  /** Can't be combined with other changes. */
  delete: Type.Optional(Type.Literal(true)),
  /** Counts what would change, without changing it. */
  dryRun: Type.Optional(Type.Boolean()),
});
export type BulkTargetRequest = Static<typeof BulkTargetRequestSchema>;
export const BulkTargetReplySchema = Type.Object({
  selected: Type.Integer(),
  /** Targets that the request changes. */
  changed: Type.Integer(),
  dryRun: Type.Boolean(),
  /** The first few names of those that change. */
  targets: Type.Array(Type.String()),
});
export type BulkTargetReply = Static<typeof BulkTargetReplySchema>;
/** Labels in use, by name, each with its most frequent values. */
export const LabelsInUseSchema = Type.Object({
  items: Type.Array(
    Type.Object({ name: Type.String(), targets: Type.Integer(), values: Type.Array(Type.String()) }),
  ),
});
export type LabelsInUse = Static<typeof LabelsInUseSchema>;
export const AcceptHostKeyRequestSchema = Closed({
  fingerprint: Type.String({ pattern: '^SHA256:[A-Za-z0-9+/]{43}$' }),
  /** Needed to replace an accepted key with a changed one: the fingerprint that is accepted now. */
  replaces: Type.Optional(Type.String({ pattern: '^SHA256:[A-Za-z0-9+/]{43}$' })),
});

export const TestResultSchema = Type.Object({
  ok: Type.Boolean(),
  /** Why it failed: a step's reason, or `no_agent`, `agents_offline`, `agents_disabled` or `no_credential`. */
  reason: Nullable(Type.String()),
  message: Type.String(),
  advice: Nullable(Type.String()),
  agentName: Nullable(Type.String()),
  offeredFingerprint: Nullable(Type.String()),
  acceptedFingerprints: Type.Array(Type.String()),
  serverVersion: Nullable(Type.String()),
  latencyMs: Nullable(Type.Number()),
});
export type TestResult = Static<typeof TestResultSchema>;
