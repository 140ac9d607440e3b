// The signed-in user, how to sign in, and API tokens.
import { type Static, Type } from 'typebox';
import { Closed, Id, Nullable, Timestamp } from '../schema-parts.ts';
import { DisplayName } from '../text.ts';
import { MadeSchema, MadeWithSchema } from './made-with.ts';
import { grantablePermissions, NamedScopeSchema, PermissionReachSchema, userKinds } from './people.ts';
import { permissions, roles, ScopeSchema } from './permissions.ts';

export const MeSchema = Type.Object({
  id: Id,
  name: Type.String(),
  displayName: Type.String(),
  kind: Type.Enum(userKinds),
  /** From all grants, whatever their scope. */
  roles: Type.Array(Type.Enum(roles)),
  /** Permissions held anywhere: what the console should offer at all. */
  permissions: Type.Array(Type.Enum(permissions)),
  /** Where each of these permissions holds. */
  reach: Type.Array(PermissionReachSchema),
  hasPassword: Type.Boolean(),
  /**
   * Whether changing the password requires the current one: not if there is none, nor shortly after a one-time code was
   * used.
   */
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
    Type.String({ maxLength: 1000, description: 'The current password, if there is one' }),
  ),
});

export const ApiTokenSchema = Type.Object({
  id: Id,
  /** Unique among its user's tokens. The audit log shows it next to what the token did. */
  name: Type.String(),
  /** The first characters, for telling tokens apart. */
  prefix: Type.String(),
  /** `null`: all permissions of its user. Otherwise at most these. */
  permissions: Nullable(Type.Array(Type.Enum(permissions))),
  /** `null`: everywhere its user may act. Otherwise only on these. */
  scopes: Nullable(Type.Array(NamedScopeSchema)),
  createdAt: Timestamp,
  /** `null` only for the bootstrap token. */
  expiresAt: Nullable(Timestamp),
  /** Accurate to the minute. */
  lastUsedAt: Nullable(Timestamp),
  lastUsedAddress: Nullable(Type.String()),
  madeWith: Type.Optional(
    Type.Union([MadeWithSchema, Type.Null()], {
      description: 'Null if that is not known: it was made before this was recorded, or by the server itself',
    }),
  ),
});
export type ApiToken = Static<typeof ApiTokenSchema>;
/** A token with permissions or scopes can't change its user's account, so it can't create a wider token for itself. */
export const CreateApiTokenRequestSchema = Closed({
  name: DisplayName(),
  expiresInDays: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: 3650,
      description: 'Default: 90; the server’s configuration may allow less',
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

/** A sign-in in one browser. */
export const SessionSchema = Type.Object({
  id: Id,
  address: Type.String({ description: 'Where it was last used from' }),
  userAgent: Type.String(),
  createdAt: Timestamp,
  /** Accurate to the minute. */
  lastSeenAt: Timestamp,
  /** When it ends even if it is used; without use it ends earlier. */
  expiresAt: Timestamp,
  /** Whether it is the session of this request. */
  isCurrent: Type.Boolean(),
});
export type Session = Static<typeof SessionSchema>;
export const SessionListSchema = Type.Object({ items: Type.Array(SessionSchema) });
export const EndedSessionsSchema = Type.Object({
  ended: Type.Integer({ description: 'How many were ended' }),
  made: Type.Optional(MadeSchema),
});
export type EndedSessions = Static<typeof EndedSessionsSchema>;
