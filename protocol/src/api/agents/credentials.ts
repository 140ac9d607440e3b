// Credentials: sealed before they are sent. The server sees name, kind and a summary of the bounds, never the secret.
import { type Static, Type } from 'typebox';
import { SealedCredentialSchema } from '../../agent/lease.ts';
import { CalendarDate, Closed, Id, Nullable, pageQuery, Timestamp } from '../common.ts';
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
/** Of each kind in `CredentialUsage`. */
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
  /** As the author wrote them down beside the seal; what counts is inside it. */
  description: Type.String(),
  /** Of targets themselves; `credentials/:id/usage` has the rest. */
  targetCount: Type.Integer(),
  /** The last day on which its secret is to be used, as its author says: a reminder, nothing is refused by it. */
  expiresOn: Nullable(CalendarDate),
  createdAt: Timestamp,
  createdBy: Type.String(),
  /** When its newest version was sealed; none of an older server. */
  savedAt: Type.Optional(Timestamp),
});
export type Credential = Static<typeof CredentialSchema>;

export const CreateCredentialRequestSchema = Closed({
  /** Chosen by the client (UUID v4), because the seal binds it. */
  id: Uuid,
  segmentId: Id,
  name: DisplayName(),
  description: Type.Optional(Description(1000)),
  expiresOn: Type.Optional(Nullable(CalendarDate)),
  kind: Type.Enum(credentialKinds),
  sealed: SealedCredentialSchema,
});
/** A new secret in place of the one before; running steps keep what they have. */
export const CreateCredentialVersionRequestSchema = Closed({
  /** One more than the version it has: the seal binds it. */
  version: Type.Integer({ minimum: 2, maximum: 2_147_483_647 }),
  description: Type.Optional(Description(1000)),
  /** Of the new secret; none where it is left out. */
  expiresOn: Type.Optional(Nullable(CalendarDate)),
  sealed: SealedCredentialSchema,
});
/** What is written beside the seal, which stays as it is. */
export const UpdateCredentialRequestSchema = Closed({
  description: Description(1000),
  expiresOn: Nullable(CalendarDate),
});
export const CredentialQuerySchema = Closed({
  ...pageQuery,
  segmentId: Type.Optional(Id),
  /** Only those that a revoked agent can open, or only the others. */
  toRotate: Type.Optional(Type.Boolean()),
  /** Only those whose day is this one or earlier. */
  expiresBy: Type.Optional(CalendarDate),
});

const Users = (name: string) =>
  Type.Object({
    total: Type.Integer({ description: `How many ${name} the reader may see` }),
    items: Type.Array(Type.Object({ id: Id, name: Type.String() }), {
      description: 'The first of them by name',
      maxItems: maxUsersNamed,
    }),
  });
/** What is given a credential or asks for it. What the reader may not see is neither named nor counted. */
export const CredentialUsageSchema = Type.Object({
  targets: Users('targets'),
  groups: Users('target groups'),
  /** Whether its segment gives it to every target that nothing nearer gives one. */
  segment: Type.Boolean(),
  /** Whose current version asks for a credential of this name, in whatever segment its targets are. */
  jobs: Users('jobs'),
});
export type CredentialUsage = Static<typeof CredentialUsageSchema>;
