// Credentials: sealed before they are sent. The server sees name, kind and a summary of the bounds, never the secret.
import { type Static, Type } from 'typebox';
import { SealedCredentialSchema } from '../../agent/messages.ts';
import { Closed, Id, pageQuery, Timestamp } from '../common.ts';
import { Description, DisplayName } from '../text.ts';

export const credentialKinds = ['ssh_password', 'ssh_private_key', 'winrm_password'] as const;
const Uuid = Type.String({ format: 'uuid' });

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
  targetCount: Type.Integer(),
  createdAt: Timestamp,
  createdBy: Type.String(),
});
export type Credential = Static<typeof CredentialSchema>;

export const CreateCredentialRequestSchema = Closed({
  /** Chosen by the client (UUID v4), because the seal binds it. */
  id: Uuid,
  segmentId: Id,
  name: DisplayName(),
  description: Type.Optional(Description(1000)),
  kind: Type.Enum(credentialKinds),
  sealed: SealedCredentialSchema,
});
/** A new secret in place of the one before; running steps keep what they have. */
export const CreateCredentialVersionRequestSchema = Closed({
  /** One more than the version it has: the seal binds it. */
  version: Type.Integer({ minimum: 2, maximum: 2_147_483_647 }),
  description: Type.Optional(Description(1000)),
  sealed: SealedCredentialSchema,
});
export const CredentialQuerySchema = Closed({
  ...pageQuery,
  segmentId: Type.Optional(Id),
  /** Only those that a revoked agent can open, or only the others. */
  toRotate: Type.Optional(Type.Boolean()),
});
