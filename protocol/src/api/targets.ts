// Targets: hosts that steps run on, their host keys and the test of a connection.
import { type Static, Type } from 'typebox';
import { Closed, Id, Nullable, pageQuery, Timestamp } from './common.ts';

export const hostKeyStates = ['accepted', 'pending', 'changed'] as const;
export const HostKeySchema = Type.Object({
  keyType: Type.String(),
  /** `SHA256:…` as OpenSSH prints it. */
  fingerprint: Type.String(),
  /** pending: first seen, nothing accepted yet · changed: differs from what is accepted, refused. */
  state: Type.Enum(hostKeyStates),
  seenAt: Timestamp,
  acceptedAt: Nullable(Timestamp),
  acceptedBy: Nullable(Type.String()),
});
export type HostKey = Static<typeof HostKeySchema>;

export const TargetSchema = Type.Object({
  id: Id,
  name: Type.String(),
  segmentId: Id,
  segmentName: Type.String(),
  host: Type.String(),
  port: Type.Integer(),
  credentialId: Nullable(Type.String()),
  credentialName: Nullable(Type.String()),
  hostKeys: Type.Array(HostKeySchema),
  createdAt: Timestamp,
  updatedAt: Timestamp,
});
export type Target = Static<typeof TargetSchema>;

const Host = Type.String({
  minLength: 1,
  maxLength: 253,
  pattern: '^[A-Za-z0-9:]([A-Za-z0-9_.:-]*[A-Za-z0-9:.])?$',
  description: 'Host name or IP address, as seen from inside the segment',
});
const targetFields = {
  name: Type.String({
    minLength: 1,
    maxLength: 100,
    pattern: '^[A-Za-z0-9]([A-Za-z0-9_. -]*[A-Za-z0-9])?$',
    description: 'Letters, digits, spaces, dots, hyphens and underscores',
  }),
  host: Host,
  port: Type.Optional(Type.Integer({ minimum: 1, maximum: 65_535, default: 22 })),
  credentialId: Type.Optional(Nullable(Type.String({ format: 'uuid' }))),
};
export const CreateTargetRequestSchema = Closed({
  segmentId: Id,
  ...targetFields,
  /** A fingerprint known from elsewhere: the first connection must present it. */
  hostKeyFingerprint: Type.Optional(Type.String({ pattern: '^SHA256:[A-Za-z0-9+/]{43}$' })),
});
export const UpdateTargetRequestSchema = Closed(targetFields);
export const TargetQuerySchema = Closed({
  ...pageQuery,
  segmentId: Type.Optional(Id),
  search: Type.Optional(Type.String({ maxLength: 100 })),
});
export const AcceptHostKeyRequestSchema = Closed({
  fingerprint: Type.String({ pattern: '^SHA256:[A-Za-z0-9+/]{43}$' }),
  /** Needed to replace an accepted key by a changed one: the fingerprint that is accepted now. */
  replaces: Type.Optional(Type.String({ pattern: '^SHA256:[A-Za-z0-9+/]{43}$' })),
});

export const TestResultSchema = Type.Object({
  ok: Type.Boolean(),
  /** Why not: a step reason, or `no_agent`, `agents_offline`, `no_credential`. */
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
