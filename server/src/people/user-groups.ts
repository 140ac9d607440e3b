// User groups: all members hold what is granted to the group.
import {
  type CreateUserGroupRequest,
  limits,
  type UpdateUserGroupRequest,
  type UserGroup,
  type UserGroupMember,
  type UserGroupQuery,
} from '@opsconductor/protocol';
import { recordAudit } from '../audit/record-audit.ts';
import { auditedBy, type Caller } from '../caller.ts';
import { refuseChanged } from '../conflicts/refuse-changed.ts';
import { invalidField, notFound } from '../errors.ts';
import type { Tx } from '../store/database/connection.ts';
import { pageOf } from '../store/database/cursor.ts';
import { grantsOfGroups } from '../store/people/grants.ts';
import {
  addMember,
  deleteUserGroup as deleteUserGroupRow,
  findUserGroup,
  insertUserGroup,
  listMembers,
  memberIds,
  removeMember,
  searchUserGroups,
  type UserGroupRow,
  updateUserGroup as updateUserGroupRow,
} from '../store/people/user-groups.ts';
import { findUserById, type UserRow } from '../store/people/users.ts';
import { recordGoingGrants } from './audit-grants.ts';
import { changePeople, requireAtLeast } from './change-people.ts';
import { afterOf } from './list-users.ts';
import { nameOf, nameTaken } from './names.ts';
import type { PeopleDeps } from './people-deps.ts';

interface Page {
  limit?: number;
  cursor?: string;
}

/** Sorted by name. */
export async function listUserGroups(
  deps: PeopleDeps,
  query: UserGroupQuery,
): Promise<{ items: UserGroup[]; nextCursor: string | null }> {
  const { limit = limits.defaultPageItems, cursor, ...filter } = query;
  const rows = await searchUserGroups(deps.sql, filter, { limit: limit + 1, ...afterOf(cursor) });
  return pageOf(rows, limit, (row) => [row.sortName, row.id], describeGroup);
}

/** @throws AppError `not_found` */
export async function getUserGroup(deps: PeopleDeps, id: number): Promise<UserGroup> {
  const row = await findUserGroup(deps.sql, id);
  if (row === undefined) throw notFound('User group');
  return describeGroup(row);
}

/** @throws AppError `conflict` for a taken name; `invalid` for a user who does not exist. */
export async function createUserGroup(
  deps: PeopleDeps,
  request: CreateUserGroupRequest,
  caller: Caller,
): Promise<UserGroup> {
  const { description = '', memberIds = [] } = request;
  const name = nameOf(request.name);
  const id = await changePeople(deps, async (tx) => {
    const id = await insertUserGroup(tx, { name, description }, deps.now());
    const members: string[] = [];
    for (const [i, userId] of memberIds.entries()) {
      const user = await findUserById(tx, userId);
      if (user === undefined) throw invalidField(`memberIds[${i}]`, `There is no user ${userId}.`);
      await addMember(tx, id, userId, deps.now());
      members.push(user.name);
    }
    await recordAudit(tx, {
      ...auditedBy(caller),
      action: 'user_group.created',
      object: { kind: 'user_group', id },
      detail: { name, description, members },
    });
    return id;
  }).catch((error) => {
    throw nameTaken(error, name);
  });
  return getUserGroup(deps, id);
}

/**
 * @throws AppError `not_found`; `conflict` for a taken name, or if the group is not as expected; `forbidden` for a group
 * that holds more than the caller.
 */
export async function updateUserGroup(
  deps: PeopleDeps,
  id: number,
  request: UpdateUserGroupRequest,
  caller: Caller,
): Promise<UserGroup> {
  const name = request.name === undefined ? undefined : nameOf(request.name);
  await changePeople(deps, async (tx) => {
    const group = await findGroupFor(tx, caller, id);
    const from = { name: group.name, description: group.description };
    refuseChanged(`User group ${group.name}`, from, request.expected);
    const to = { name: name ?? from.name, description: request.description ?? from.description };
    await updateUserGroupRow(tx, id, to, deps.now());
    await recordAudit(tx, {
      ...auditedBy(caller),
      action: 'user_group.changed',
      object: { kind: 'user_group', id },
      detail: { from, to },
    });
  }).catch((error) => {
    throw nameTaken(error, name);
  });
  return getUserGroup(deps, id);
}

/**
 * Deletes a group with its grants; its members stay users.
 * @throws AppError `not_found`; `conflict` if the last administrator is one through this group; `forbidden`.
 */
export async function deleteUserGroup(deps: PeopleDeps, id: number, caller: Caller): Promise<void> {
  const members = await changePeople(deps, async (tx) => {
    const group = await findGroupFor(tx, caller, id);
    const members = await memberIds(tx, id);
    await recordGoingGrants(tx, { kind: 'user_group', id }, caller);
    await deleteUserGroupRow(tx, id);
    await recordAudit(tx, {
      ...auditedBy(caller),
      action: 'user_group.deleted',
      object: { kind: 'user_group', id },
      detail: { name: group.name, members: members.length, grants: group.grants },
    });
    return members;
  });
  deps.authenticator.forgetUsers(members);
}

/** @throws AppError `not_found` */
export async function listUserGroupMembers(
  deps: PeopleDeps,
  id: number,
  query: Page,
): Promise<{ items: UserGroupMember[]; nextCursor: string | null }> {
  const { limit = limits.defaultPageItems, cursor } = query;
  await getUserGroup(deps, id);
  const rows = await listMembers(deps.sql, id, { limit: limit + 1, ...afterOf(cursor) });
  return pageOf(
    rows,
    limit,
    (row) => [row.sortName, row.id],
    ({ sortName: _, addedAt, ...row }) => ({ ...row, addedAt: addedAt.toISOString() }),
  );
}

/**
 * Adds a user to a group; does nothing for a user who is already in it.
 * @throws AppError `not_found`; `forbidden` for a group that holds more than the caller.
 */
export async function addUserGroupMember(
  deps: PeopleDeps,
  id: number,
  userId: number,
  caller: Caller,
): Promise<void> {
  await changeMember(deps, { id, userId }, caller, {
    action: 'user_group.member_added',
    make: (tx) => addMember(tx, id, userId, deps.now()),
  });
}

/**
 * Removes a user from a group.
 * @throws AppError `not_found`, also for a user who is not in it; `conflict` for the last administrator; `forbidden`.
 */
export async function removeUserGroupMember(
  deps: PeopleDeps,
  id: number,
  userId: number,
  caller: Caller,
): Promise<void> {
  await changeMember(deps, { id, userId }, caller, {
    action: 'user_group.member_removed',
    async make(tx) {
      if (!(await removeMember(tx, id, userId))) throw notFound('Member');
      return true;
    },
  });
}

interface MemberChange {
  /** As the audit log calls it. */
  action: string;
  /** Returns whether anything has changed. */
  make: (tx: Tx) => Promise<boolean>;
}

async function changeMember(
  deps: PeopleDeps,
  { id, userId }: { id: number; userId: number },
  caller: Caller,
  { action, make }: MemberChange,
): Promise<void> {
  await changePeople(deps, async (tx) => {
    const group = await findGroupFor(tx, caller, id);
    const user: UserRow | undefined = await findUserById(tx, userId);
    if (user === undefined) throw notFound('User');
    if (!(await make(tx))) return;
    await recordAudit(tx, {
      ...auditedBy(caller),
      action,
      object: { kind: 'user_group', id },
      detail: { group: group.name, user: user.name, userId },
    });
  });
  deps.authenticator.forgetUser(userId);
}

/** Returns a group that holds no more than the caller. */
async function findGroupFor(tx: Tx, caller: Caller, id: number): Promise<UserGroupRow> {
  const group = await findUserGroup(tx, id);
  if (group === undefined) throw notFound('User group');
  await requireAtLeast(tx, caller, await grantsOfGroups(tx, [id]));
  return group;
}

function describeGroup(row: UserGroupRow): UserGroup {
  const { id, name, description, members, grants, createdAt, updatedAt } = row;
  return {
    id,
    name,
    description,
    members,
    grants,
    createdAt: createdAt.toISOString(),
    updatedAt: updatedAt.toISOString(),
  };
}
