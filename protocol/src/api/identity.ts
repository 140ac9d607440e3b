// Who is signed in, how one signs in, and API tokens.
import { type Static, Type } from 'typebox';
import { Closed, Id, Nullable, Timestamp } from './common.ts';
import { permissions, roles } from './permissions.ts';
import { DisplayName } from './text.ts';

export const MeSchema = Type.Object({
  id: Id,
  name: Type.String(),
  roles: Type.Array(Type.Enum(roles)),
  permissions: Type.Array(Type.Enum(permissions)),
  hasPassword: Type.Boolean(),
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
  name: Type.String(),
  /** First characters, to tell tokens apart. */
  prefix: Type.String(),
  createdAt: Timestamp,
  expiresAt: Nullable(Timestamp),
  lastUsedAt: Nullable(Timestamp),
});
export type ApiToken = Static<typeof ApiTokenSchema>;
export const CreateApiTokenRequestSchema = Closed({
  name: DisplayName(),
  expiresInDays: Type.Optional(Type.Integer({ minimum: 1, maximum: 3650, default: 90 })),
});
export const CreatedApiTokenSchema = Type.Object({
  ...ApiTokenSchema.properties,
  token: Type.String({ description: 'Shown once, never again' }),
});
export type CreatedApiToken = Static<typeof CreatedApiTokenSchema>;
