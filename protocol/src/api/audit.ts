// The audit log: what was done, by whom, from where; and the checkpoints that seal it.
import { type Static, Type } from 'typebox';
import { Closed, Id, Nullable, Page, pageQuery, Timestamp } from './schema-parts.ts';

export const auditActorKinds = ['user', 'agent', 'system', 'anonymous'] as const;
export type AuditActorKind = (typeof auditActorKinds)[number];

export const AuditRowSchema = Type.Object({
  id: Id,
  at: Timestamp,
  actorKind: Type.Enum(auditActorKinds),
  actorId: Nullable(Id),
  /** For an anonymous actor, the name that was claimed. */
  actorName: Type.String(),
  action: Type.String({ description: '`noun.verb` in the past tense: `job.created`' }),
  objectKind: Nullable(Type.String()),
  objectId: Nullable(Type.String()),
  detail: Type.Record(Type.String(), Type.Unknown(), {
    description: 'Further details, depending on the action',
  }),
  address: Nullable(Type.String()),
  requestId: Nullable(Type.String()),
  segmentId: Nullable(Id),
  /** `null` if the segment is gone or the row belongs to none. */
  segmentName: Nullable(Type.String()),
  categoryId: Nullable(Id),
  categoryName: Nullable(Type.String()),
  /** Position in the sealed log, counted from 0; `null` until the row is sealed, about a second later. */
  position: Nullable(Type.Integer({ minimum: 0 })),
});
export type AuditRow = Static<typeof AuditRowSchema>;

const Moment = (description: string) =>
  Type.String({
    maxLength: 40,
    pattern: '^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}(\\.\\d{1,6})?(Z|[+-]\\d{2}:\\d{2})$',
    description: `${description}, RFC 3339: 2026-01-31T08:00:00Z`,
  });
const filters = {
  actor: Type.Optional(Type.String({ minLength: 1, maxLength: 200, description: 'Exact name of the actor' })),
  actorKind: Type.Optional(Type.Enum(auditActorKinds)),
  action: Type.Optional(
    Type.String({
      maxLength: 100,
      pattern: '^[a-z0-9_.]+$',
      description: 'Beginning of the action: `job.` finds `job.created` and `job.changed`',
    }),
  ),
  objectKind: Type.Optional(Type.String({ minLength: 1, maxLength: 100 })),
  objectId: Type.Optional(Type.String({ minLength: 1, maxLength: 100 })),
  from: Type.Optional(Moment('At or after this time')),
  to: Type.Optional(Moment('Before this time')),
  segmentId: Type.Optional(Id),
  categoryId: Type.Optional(Id),
  address: Type.Optional(Type.String({ minLength: 1, maxLength: 100, description: 'Exact address' })),
  text: Type.Optional(
    Type.String({ minLength: 1, maxLength: 200, description: 'Text that the detail contains' }),
  ),
};
/** GET /api/v1/audit, newest first. */
export const AuditQuerySchema = Closed({ ...pageQuery, ...filters });
export type AuditQuery = Static<typeof AuditQuerySchema>;

export const AuditPageSchema = Type.Object({
  ...Page(AuditRowSchema).properties,
  searchedTo: Type.Optional(
    Type.String({
      maxLength: 40,
      description:
        'Present if the search was ended before it was done: how far back it has looked. `nextCursor` goes on from there; `items` may be few, or none',
    }),
  ),
});
export type AuditPage = Static<typeof AuditPageSchema>;

export const auditExportFormats = ['jsonl', 'csv'] as const;
/** GET /api/v1/audit/export: all rows that match the same filters, oldest first. */
export const AuditExportQuerySchema = Closed({
  format: Type.Optional(Type.Enum(auditExportFormats, { default: 'jsonl' })),
  ...filters,
});
export type AuditExportQuery = Static<typeof AuditExportQuerySchema>;

export const AuditCheckpointSchema = Type.Object({
  number: Type.Integer({ minimum: 1 }),
  /** Number of sealed rows: those at positions 0 to size − 1. */
  size: Type.Integer({ minimum: 1 }),
  rootHash: Type.String({ description: 'Root of the Merkle tree over these rows, base64' }),
  sealedAt: Timestamp,
  /** The signed text: keep a copy elsewhere and pass it to `audit verify --checkpoint`. */
  note: Type.String(),
  /** Rows written since then, which no checkpoint covers yet. */
  unsealedRows: Type.Integer({ minimum: 0 }),
  publicKey: Type.String({ description: 'Ed25519 key of this installation that signs checkpoints, base64' }),
});
export type AuditCheckpoint = Static<typeof AuditCheckpointSchema>;
