// Users, service accounts, user groups, grants, and the access that these add up to.
import { type Static, Type } from 'typebox';
import { Changes, Closed, Id, Nullable, Page, pageQuery, Timestamp } from '../schema-parts.ts';
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
const PersonSearch = Type.String({ minLength: 1, maxLength: 100, description: 'Part of the name' });

// ------------------------------------------------------------------ users and service accounts

/** `person`: signs in. `service`: a program, which has API tokens and never signs in. */
export const userKinds = ['person', 'service'] as const;
export type UserKind = (typeof userKinds)[number];

export const UserSchema = Type.Object({
  id: Id,
  /** Unique, ignoring case. People sign in with it. */
  name: Type.String(),
  displayName: Type.String(),
  description: Type.String(),
  kind: Type.Enum(userKinds),
  /** An inactive user is kept because of what they did, but can do nothing. */
  isActive: Type.Boolean(),
  hasPassword: Type.Boolean(),
  /** When the pending one-time sign-in link expires; `null` if there is none. */
  signInLinkExpiresAt: Nullable(Timestamp),
  /**
   * Until when sign-in is locked after wrong passwords (the latest lock, if several addresses are locked); `null`: no
   * lock.
   */
  lockedUntil: Nullable(Timestamp),
  /** Number of addresses from which sign-in is locked. */
  lockedAddresses: Type.Integer(),
  lastSignInAt: Nullable(Timestamp),
  sessions: Type.Integer({ description: 'How many are open' }),
  tokens: Type.Integer({ description: 'API tokens that have not expired' }),
  userGroups: Type.Array(Named),
  /** Roles granted everywhere, directly or through a group. */
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

/** Omitted fields stay as they are. In `expected`, the order of the groups makes no difference. */
export const UpdateUserRequestSchema = Changes({
  name: Type.Optional(DisplayName()),
  displayName: Type.Optional(OptionalName),
  description: Type.Optional(Description(2_000)),
  /** `false` permanently ends sessions and sign-in links, and deletes API tokens. */
  isActive: Type.Optional(Type.Boolean()),
  /** The complete list: the user is removed from all other groups. */
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
  members: Type.Integer({ description: 'Number of members' }),
  grants: Type.Integer({ description: 'Number of grants' }),
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
/** Omitted fields stay as they are. Members are added and removed one by one, or through the user. */
export const UpdateUserGroupRequestSchema = Changes({
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

/** A scope with its name. */
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
  /** `null`: everywhere. */
  scope: Nullable(NamedScopeSchema),
  createdAt: Timestamp,
  createdBy: Nullable(Named),
});
export type RoleGrant = Static<typeof RoleGrantSchema>;

/** Everyone has `self`, so it can't be granted. */
export const grantablePermissions = permissions.filter(
  (permission): permission is Exclude<Permission, 'self'> => permission !== 'self',
) as [Exclude<Permission, 'self'>, ...Exclude<Permission, 'self'>[]];

/** Exactly one of `userId` and `userGroupId`, and exactly one of `role` and `permission`. */
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
  /** `everywhere`: grants without a scope. With `scopeId`: grants on that scope. */
  scopeKind: Type.Optional(Type.Enum(['everywhere', ...scopeKinds] as ['everywhere', ...ScopeKind[]])),
  scopeId: Type.Optional(Id),
});
export type GrantQuery = Static<typeof GrantQuerySchema>;

// ------------------------------------------------------------------ what may this user do, and why

/** A grant that gives the permission, and through whom. */
export const ReasonSchema = Type.Object({
  grantId: Id,
  /** The user, or a group that the user belongs to. */
  through: GrantSubjectSchema,
  /** `null`: the permission was granted directly, not by a role. */
  role: Nullable(Type.Enum(roles)),
  /** `null`: everywhere. */
  scope: Nullable(NamedScopeSchema),
});
export type Reason = Static<typeof ReasonSchema>;

export const PermissionAccessSchema = Type.Object({
  permission: Type.Enum(permissions),
  /** Whether at least one of the grants applies everywhere. */
  everywhere: Type.Boolean(),
  grants: Type.Array(ReasonSchema),
});
export type PermissionAccess = Static<typeof PermissionAccessSchema>;

export const placeKinds = ['job', 'target', 'run', 'category', 'segment', 'target_group'] as const;
export type PlaceKind = (typeof placeKinds)[number];
export const AccessNeedSchema = Type.Object({
  permission: Type.Enum(permissions),
  /** `null`: everywhere. */
  on: Nullable(Type.Object({ kind: Type.Enum(placeKinds), id: Id, name: Type.String() })),
  isHeld: Type.Boolean(),
  grants: Type.Array(ReasonSchema),
  /** What would have to be granted, in a sentence; `null` if it is held. */
  missing: Nullable(Type.String()),
});
export type AccessNeed = Static<typeof AccessNeedSchema>;

export const AccessSchema = Type.Object({
  user: Type.Object({ id: Id, name: Type.String(), kind: Type.Enum(userKinds), isActive: Type.Boolean() }),
  /** Permissions held anywhere; if the query asks about one permission, only that. */
  permissions: Type.Array(PermissionAccessSchema),
  /** The answer to the query; `null` if it asks nothing. */
  answer: Nullable(
    Type.Object({
      isAllowed: Type.Boolean(),
      /** One sentence. */
      summary: Type.String(),
      /** All permissions needed: running a job takes more than one. */
      needs: Type.Array(AccessNeedSchema),
    }),
  ),
});
export type Access = Static<typeof AccessSchema>;

/**
 * Without `permission`: returns everything. With it and an object: whether the user may do this there. `job` together
 * with `target` asks about running that job on that target.
 */
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

/** Where a permission of the caller holds, after applying the limits of an API token. */
export const PermissionReachSchema = Type.Object({
  permission: Type.Enum(permissions),
  everywhere: Type.Boolean(),
  /**
   * An object must lie in at least one scope of every list. Empty if the permission holds everywhere. Otherwise, there
   * is one list from the grants, and another from the API token if that has scopes.
   */
  within: Type.Array(Type.Array(ScopeSchema)),
});
export type PermissionReach = Static<typeof PermissionReachSchema>;

export const UserPageSchema = Page(UserSchema);
export const UserGroupPageSchema = Page(UserGroupSchema);
export const UserGroupMemberPageSchema = Page(UserGroupMemberSchema);
export const RoleGrantPageSchema = Page(RoleGrantSchema);
