// People: users and service accounts, user groups, grants, and what these add up to.
import { type Static, Type } from 'typebox';
import { Closed, Id, Nullable, Page, pageQuery, Timestamp } from '../common.ts';
import { Description, DisplayName, namePattern } from '../text.ts';
import {
  type Permission,
  permissions,
  roles,
  type ScopeKind,
  ScopeSchema,
  scopeKinds,
} from './permissions.ts';

const Named = Type.Object({ id: Id, name: Type.String() });
const OptionalName = Type.String({
  maxLength: 100,
  pattern: namePattern,
  description: 'One line of visible text; may be empty',
});
const Ids = Type.Array(Id, { maxItems: 200, uniqueItems: true });
const PersonSearch = Type.String({ minLength: 1, maxLength: 100, description: 'Part of a name' });

// ------------------------------------------------------------------ users and service accounts

/** person: signs in · service: a program; it has API tokens and never signs in. */
export const userKinds = ['person', 'service'] as const;
export type UserKind = (typeof userKinds)[number];

export const UserSchema = Type.Object({
  id: Id,
  /** Unique, whatever the case of its letters. One signs in by it. */
  name: Type.String(),
  displayName: Type.String(),
  description: Type.String(),
  kind: Type.Enum(userKinds),
  /** Inactive: kept for what it did, but opens nothing. */
  isActive: Type.Boolean(),
  hasPassword: Type.Boolean(),
  /** A one-time sign-in link waits to be used until then; null without one. */
  signInLinkExpiresAt: Nullable(Timestamp),
  /** Wrong passwords came from some address: none is tried from there before then. Null: no lock. */
  lockedUntil: Nullable(Timestamp),
  /** From how many addresses it is locked. */
  lockedAddresses: Type.Integer(),
  lastSignInAt: Nullable(Timestamp),
  sessions: Type.Integer({ description: 'How many are open' }),
  tokens: Type.Integer({ description: 'API tokens that have not expired' }),
  userGroups: Type.Array(Named),
  /** Granted everywhere, by own grants or by those of a group. */
  roles: Type.Array(Type.Enum(roles)),
  createdAt: Timestamp,
  updatedAt: Timestamp,
});
export type User = Static<typeof UserSchema>;

export const UserQuerySchema = Closed({
  ...pageQuery,
  search: Type.Optional(PersonSearch),
  kind: Type.Optional(Type.Enum(userKinds)),
  isActive: Type.Optional(Type.Boolean()),
  userGroupId: Type.Optional(Id),
});
export type UserQuery = Static<typeof UserQuerySchema>;

export const CreateUserRequestSchema = Closed({
  name: DisplayName(),
  displayName: Type.Optional(OptionalName),
  description: Type.Optional(Description(2_000)),
  kind: Type.Optional(Type.Enum(userKinds, { default: 'person' })),
  userGroupIds: Type.Optional(Ids),
});
export type CreateUserRequest = Static<typeof CreateUserRequestSchema>;

/** What is left out stays as it is. */
export const UpdateUserRequestSchema = Closed({
  name: Type.Optional(DisplayName()),
  displayName: Type.Optional(OptionalName),
  description: Type.Optional(Description(2_000)),
  /** False ends sessions and sign-in links and deletes API tokens, for good. */
  isActive: Type.Optional(Type.Boolean()),
  /** All of them: who is in no other is taken out of it. */
  userGroupIds: Type.Optional(Ids),
});
export type UpdateUserRequest = Static<typeof UpdateUserRequestSchema>;

export const SignInLinkSchema = Type.Object({
  url: Type.String({ description: 'Shown once, never again; the code is in its fragment' }),
  expiresAt: Timestamp,
});
export type SignInLink = Static<typeof SignInLinkSchema>;

// ------------------------------------------------------------------ user groups

export const UserGroupSchema = Type.Object({
  id: Id,
  name: Type.String(),
  description: Type.String(),
  members: Type.Integer({ description: 'How many' }),
  grants: Type.Integer({ description: 'How many' }),
  createdAt: Timestamp,
  updatedAt: Timestamp,
});
export type UserGroup = Static<typeof UserGroupSchema>;
export const UserGroupQuerySchema = Closed({ ...pageQuery, search: Type.Optional(PersonSearch) });
export type UserGroupQuery = Static<typeof UserGroupQuerySchema>;
export const CreateUserGroupRequestSchema = Closed({
  name: DisplayName(),
  description: Type.Optional(Description(2_000)),
  memberIds: Type.Optional(Ids),
});
export type CreateUserGroupRequest = Static<typeof CreateUserGroupRequestSchema>;
/** What is left out stays as it is. Members are added and taken out one by one, or through the user. */
export const UpdateUserGroupRequestSchema = Closed({
  name: Type.Optional(DisplayName()),
  description: Type.Optional(Description(2_000)),
});
export type UpdateUserGroupRequest = Static<typeof UpdateUserGroupRequestSchema>;
export const UserGroupMemberSchema = Type.Object({
  id: Id,
  name: Type.String(),
  displayName: Type.String(),
  kind: Type.Enum(userKinds),
  isActive: Type.Boolean(),
  addedAt: Timestamp,
});
export type UserGroupMember = Static<typeof UserGroupMemberSchema>;

// ------------------------------------------------------------------ grants

/** A scope with the name that people know it by. */
export const NamedScopeSchema = Type.Object({ kind: Type.Enum(scopeKinds), id: Id, name: Type.String() });
export type NamedScope = Static<typeof NamedScopeSchema>;
export const grantSubjectKinds = ['user', 'user_group'] as const;
export const GrantSubjectSchema = Type.Object({
  kind: Type.Enum(grantSubjectKinds),
  id: Id,
  name: Type.String(),
});
export type GrantSubject = Static<typeof GrantSubjectSchema>;

export const RoleGrantSchema = Type.Object({
  id: Id,
  subject: GrantSubjectSchema,
  /** Either a role or one permission. */
  role: Nullable(Type.Enum(roles)),
  permission: Nullable(Type.Enum(permissions)),
  /** Null: everywhere. */
  scope: Nullable(NamedScopeSchema),
  createdAt: Timestamp,
  createdBy: Nullable(Named),
});
export type RoleGrant = Static<typeof RoleGrantSchema>;

/** Everyone has `self`: it is not granted. */
export const grantablePermissions = permissions.filter(
  (permission): permission is Exclude<Permission, 'self'> => permission !== 'self',
) as [Exclude<Permission, 'self'>, ...Exclude<Permission, 'self'>[]];

/** Exactly one of `userId` and `userGroupId`, exactly one of `role` and `permission`. */
export const CreateGrantRequestSchema = Closed({
  userId: Type.Optional(Id),
  userGroupId: Type.Optional(Id),
  role: Type.Optional(Type.Enum(roles)),
  permission: Type.Optional(Type.Enum(grantablePermissions)),
  scope: Type.Optional(Nullable(ScopeSchema)),
});
export type CreateGrantRequest = Static<typeof CreateGrantRequestSchema>;

export const GrantQuerySchema = Closed({
  ...pageQuery,
  userId: Type.Optional(Id),
  userGroupId: Type.Optional(Id),
  role: Type.Optional(Type.Enum(roles)),
  permission: Type.Optional(Type.Enum(grantablePermissions)),
  /** `everywhere`: those without a scope. With `scopeId` those on one. */
  scopeKind: Type.Optional(Type.Enum(['everywhere', ...scopeKinds] as ['everywhere', ...ScopeKind[]])),
  scopeId: Type.Optional(Id),
});
export type GrantQuery = Static<typeof GrantQuerySchema>;

// ------------------------------------------------------------------ what may this user do, and why

/** A grant that gives the right, and through whom. */
export const ReasonSchema = Type.Object({
  grantId: Id,
  /** The user, or a group that they are in. */
  through: GrantSubjectSchema,
  /** Null: the permission was granted by itself. */
  role: Nullable(Type.Enum(roles)),
  /** Null: everywhere. */
  scope: Nullable(NamedScopeSchema),
});
export type Reason = Static<typeof ReasonSchema>;

export const PermissionAccessSchema = Type.Object({
  permission: Type.Enum(permissions),
  /** Whether one of the grants is everywhere. */
  everywhere: Type.Boolean(),
  grants: Type.Array(ReasonSchema),
});
export type PermissionAccess = Static<typeof PermissionAccessSchema>;

export const placeKinds = ['job', 'target', 'run', 'category', 'segment', 'target_group'] as const;
export type PlaceKind = (typeof placeKinds)[number];
export const AccessNeedSchema = Type.Object({
  permission: Type.Enum(permissions),
  /** Null: everywhere. */
  on: Nullable(Type.Object({ kind: Type.Enum(placeKinds), id: Id, name: Type.String() })),
  isHeld: Type.Boolean(),
  grants: Type.Array(ReasonSchema),
  /** What would have to be granted, in a sentence; null where it is held. */
  missing: Nullable(Type.String()),
});
export type AccessNeed = Static<typeof AccessNeedSchema>;

export const AccessSchema = Type.Object({
  user: Type.Object({ id: Id, name: Type.String(), kind: Type.Enum(userKinds), isActive: Type.Boolean() }),
  /** Only what is held anywhere; of a question, only the permission asked for. */
  permissions: Type.Array(PermissionAccessSchema),
  /** Of a question; null without one. */
  answer: Nullable(
    Type.Object({
      isAllowed: Type.Boolean(),
      /** One sentence. */
      summary: Type.String(),
      /** Running asks for more than one right: each is here. */
      needs: Type.Array(AccessNeedSchema),
    }),
  ),
});
export type Access = Static<typeof AccessSchema>;

/** Without `permission` all is told. With it and a thing: may they do this there? With `job` and `target`: that job there? */
export const AccessQuerySchema = Closed({
  permission: Type.Optional(Type.Enum(grantablePermissions)),
  job: Type.Optional(Id),
  target: Type.Optional(Id),
  run: Type.Optional(Id),
  category: Type.Optional(Id),
  segment: Type.Optional(Id),
  targetGroup: Type.Optional(Id),
});
export type AccessQuery = Static<typeof AccessQuerySchema>;

/** Where a permission of the caller holds; an API token's bounds are taken off. */
export const PermissionReachSchema = Type.Object({
  permission: Type.Enum(permissions),
  everywhere: Type.Boolean(),
  /**
   * A thing must lie in one scope of each list. Empty where it holds everywhere; one list of the grants', and with an API
   * token that has scopes one of those.
   */
  within: Type.Array(Type.Array(ScopeSchema)),
});
export type PermissionReach = Static<typeof PermissionReachSchema>;

export const UserPageSchema = Page(UserSchema);
export const UserGroupPageSchema = Page(UserGroupSchema);
export const UserGroupMemberPageSchema = Page(UserGroupMemberSchema);
export const RoleGrantPageSchema = Page(RoleGrantSchema);
