// Credentials are sealed before they are sent: the server sees the name, the kind and a summary of the bounds, never
// the secret.
import { type Static, Type } from 'typebox';
import { SealedCredentialSchema } from '../../agent/lease.ts';
import { CalendarDate, Changes, Closed, Id, Nullable, pageQuery, Timestamp } from '../schema-parts.ts';
import { Description, DisplayName } from '../text.ts';

export const credentialKinds = [
  'ssh_password',
  'ssh_private_key',
  'winrm_password',
  'winrm_certificate',
  'winrm_keytab',
  'winrm_ticket_cache',
  'ssh_password_source',
  'ssh_key_source',
  'winrm_password_source',
] as const;
const Uuid = Type.String({ format: 'uuid' });
/** Most entries listed of each kind in `CredentialUsage`. */
export const maxUsersNamed = 100;

export const CredentialSchema = Type.Object({
  id: Uuid,
  name: Type.String(),
  segmentId: Id,
  segmentName: Type.String(),
  kind: Type.Enum(credentialKinds),
  version: Type.Integer(),
  generation: Type.Integer(),
  /** A revoked agent can open it: change the secret on the targets, then seal the new one. */
  toRotate: Type.Boolean(),
  /** The author's description, stored outside the seal. Only what is sealed is enforced. */
  description: Type.String(),
  /** Targets that name this credential themselves; `credentials/:id/usage` has the indirect users. */
  targetCount: Type.Integer(),
  /**
   * Last day on which the secret should be used, according to its author. Only a reminder: nothing is refused after it.
   */
  expiresOn: Nullable(CalendarDate),
  createdAt: Timestamp,
  createdBy: Type.String(),
  /** When the newest version was sealed; missing from older servers. */
  savedAt: Type.Optional(Timestamp),
});
export type Credential = Static<typeof CredentialSchema>;

export const CreateCredentialRequestSchema = Closed({
  /** Chosen by the client (UUID v4), because the seal is bound to it. */
  id: Uuid,
  segmentId: Id,
  name: DisplayName(),
  description: Type.Optional(Description(1000)),
  expiresOn: Type.Optional(Nullable(CalendarDate)),
  kind: Type.Enum(credentialKinds),
  sealed: SealedCredentialSchema,
});
/** Replaces the secret. Steps that are already running keep the previous one. */
export const CreateCredentialVersionRequestSchema = Closed({
  /** The current version plus one; the seal is bound to it. */
  version: Type.Integer({ minimum: 2, maximum: 2_147_483_647 }),
  description: Type.Optional(Description(1000)),
  /** Expiry day of the new secret; if omitted, it has none. */
  expiresOn: Type.Optional(Nullable(CalendarDate)),
  sealed: SealedCredentialSchema,
});
/** Changes what is stored outside the seal; omitted fields and the sealed secret stay as they are. */
export const UpdateCredentialRequestSchema = Changes({
  description: Type.Optional(Description(1000)),
  expiresOn: Type.Optional(Nullable(CalendarDate)),
});
export type UpdateCredentialRequest = Static<typeof UpdateCredentialRequestSchema>;
export const credentialSorts = ['name', 'expiry'] as const;
export type CredentialSort = (typeof credentialSorts)[number];
export const CredentialQuerySchema = Closed({
  ...pageQuery,
  search: Type.Optional(
    Type.String({ maxLength: 200, description: 'A part of the name or the description' }),
  ),
  segmentId: Type.Optional(Id),
  /** `true`: only credentials that a revoked agent can open; `false`: only the others. */
  toRotate: Type.Optional(Type.Boolean()),
  /** Only credentials that expire on this day or earlier. */
  expiresBy: Type.Optional(CalendarDate),
  sort: Type.Optional(
    Type.Enum(credentialSorts, {
      default: 'name',
      description:
        'By name, or by the day on which they expire: the first to expire comes first, and those without such a day come last',
    }),
  ),
});

const Users = (name: string) =>
  Type.Object({
    total: Type.Integer({ description: `How many ${name} the reader may see` }),
    items: Type.Array(Type.Object({ id: Id, name: Type.String() }), {
      description: 'The first of them by name',
      maxItems: maxUsersNamed,
    }),
  });
/** What uses a credential. Anything that the reader may not see is neither named nor counted. */
export const CredentialUsageSchema = Type.Object({
  targets: Users('targets'),
  groups: Users('target groups'),
  /** Whether it is the segment's default, for targets that get none from anything more specific. */
  segment: Type.Boolean(),
  /** Jobs whose current version names a credential of this name, in any segment. */
  jobs: Users('jobs'),
});
export type CredentialUsage = Static<typeof CredentialUsageSchema>;
