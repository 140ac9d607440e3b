// Who is signed in, how one signs in, and API tokens.
import { type Static, Type } from 'typebox';
import { Closed, Id, Nullable, Timestamp } from '../common.ts';
import { DisplayName } from '../text.ts';
import { grantablePermissions, NamedScopeSchema, PermissionReachSchema, userKinds } from './people.ts';
import { permissions, roles, ScopeSchema } from './permissions.ts';

export const MeSchema = Type.Object({
  id: Id,
  name: Type.String(),
  displayName: Type.String(),
  kind: Type.Enum(userKinds),
  /** Of all grants, whatever their scope. */
  roles: Type.Array(Type.Enum(roles)),
  /** Held somewhere: what to offer at all. */
  permissions: Type.Array(Type.Enum(permissions)),
  /** Where each of these holds. */
  reach: Type.Array(PermissionReachSchema),
  hasPassword: Type.Boolean(),
  /** Setting a password asks for the present one; not without one, and not soon after a one-time code was used. */
  needsCurrentPassword: Type.Boolean(),
  via: Type.Enum(['session', 'api_token']),
});
export type Me = Static<typeof MeSchema>;

export const ExchangeRequestSchema = Closed({ code: Type.String({ minLength: 20, maxLength: 200 }) });
export const SignInRequestSchema = Closed({
  name: DisplayName(),
  password: Type.String({ minLength: 1, maxLength: 1000 }),
});
export const PasswordRequestSchema = Closed({
  password: Type.String({ minLength: 12, maxLength: 1000, description: 'At least 12 characters' }),
  current: Type.Optional(
    Type.String({ maxLength: 1000, description: 'The present password, where there is one' }),
  ),
});

export const ApiTokenSchema = Type.Object({
  id: Id,
  /** Unique for its user; it stands in the audit log beside what the token did. */
  name: Type.String(),
  /** First characters, to tell tokens apart. */
  prefix: Type.String(),
  /** Null: all that its user has. Otherwise no more than these. */
  permissions: Nullable(Type.Array(Type.Enum(permissions))),
  /** Null: wherever its user may. Otherwise only on these. */
  scopes: Nullable(Type.Array(NamedScopeSchema)),
  createdAt: Timestamp,
  /** Null only for the bootstrap token. */
  expiresAt: Nullable(Timestamp),
  /** To the minute. */
  lastUsedAt: Nullable(Timestamp),
  lastUsedAddress: Nullable(Type.String()),
});
export type ApiToken = Static<typeof ApiTokenSchema>;
/** A token with permissions or scopes can't touch its user's account, so that it can't make itself a wider one. */
export const CreateApiTokenRequestSchema = Closed({
  name: DisplayName(),
  expiresInDays: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: 3650,
      description: '90 unless told; the server’s setting may allow less',
    }),
  ),
  permissions: Type.Optional(
    Nullable(Type.Array(Type.Enum(grantablePermissions), { minItems: 1, maxItems: 50, uniqueItems: true })),
  ),
  scopes: Type.Optional(Nullable(Type.Array(ScopeSchema, { minItems: 1, maxItems: 100, uniqueItems: true }))),
});
export type CreateApiTokenRequest = Static<typeof CreateApiTokenRequestSchema>;
export const CreatedApiTokenSchema = Type.Object({
  ...ApiTokenSchema.properties,
  token: Type.String({ description: 'Shown once, never again' }),
});
export type CreatedApiToken = Static<typeof CreatedApiTokenSchema>;

/** Being signed in with one browser. */
export const SessionSchema = Type.Object({
  id: Id,
  address: Type.String({ description: 'Where it was last used from' }),
  userAgent: Type.String(),
  createdAt: Timestamp,
  /** To the minute. */
  lastSeenAt: Timestamp,
  /** When it ends although it is used; unused it ends earlier. */
  expiresAt: Timestamp,
  /** The one that asks. */
  isCurrent: Type.Boolean(),
});
export type Session = Static<typeof SessionSchema>;
export const SessionListSchema = Type.Object({ items: Type.Array(SessionSchema) });
export const EndedSessionsSchema = Type.Object({ ended: Type.Integer({ description: 'How many' }) });
