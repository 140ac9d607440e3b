// Creates, changes and deletes users and service accounts.
import type { CreateUserRequest, UpdateUserRequest, User } from '@opsconductor/protocol';
import { recordAudit } from '../audit/record-audit.ts';
import { auditedBy, type Caller } from '../caller.ts';
import { refuseChanged } from '../conflicts/refuse-changed.ts';
import { AppError, invalidField } from '../errors.ts';
import type { Tx } from '../store/database/connection.ts';
import { deleteApiTokens } from '../store/people/api-tokens.ts';
import { grantsOfGroups } from '../store/people/grants.ts';
import { deleteOtherSessions } from '../store/people/sessions.ts';
import { deleteSignInCodes } from '../store/people/sign-in-codes.ts';
import { addMember, existingUserGroups, groupIdsOf, removeMember } from '../store/people/user-groups.ts';
import {
  deleteUser as deleteUserRow,
  insertUserFields,
  tablesNaming,
  updateUser as updateUserRow,
} from '../store/people/users.ts';
import { recordGoingGrants } from './audit-grants.ts';
import { changePeople, lockUserFor, requireAtLeast } from './change-people.ts';
import { getUser } from './list-users.ts';
import { nameOf, nameTaken } from './names.ts';
import type { PeopleDeps } from './people-deps.ts';

/**
 * Creates a user without a password (a sign-in link lets them set one), or a service account.
 * @throws AppError `conflict` for a taken name; `invalid` for a group that does not exist; `forbidden` for a group that
 * holds more than the caller.
 */
export async function createUser(
  deps: PeopleDeps,
  request: CreateUserRequest,
  caller: Caller,
): Promise<User> {
  const { kind = 'person', displayName = '', description = '', userGroupIds = [] } = request;
  const name = nameOf(request.name);
  const id = await changePeople(deps, async (tx) => {
    const id = await insertUserFields(tx, { name, displayName, description, kind }, deps.now());
    const userGroups = await joinGroups(deps, tx, caller, id, userGroupIds);
    await recordAudit(tx, {
      ...auditedBy(caller),
      action: 'user.created',
      object: { kind: 'user', id },
      detail: { name, kind, displayName, description, userGroups },
    });
    return id;
  }).catch((error) => {
    throw nameTaken(error, name);
  });
  return getUser(deps, id);
}

/**
 * Changes a user; what the request leaves out stays unchanged. Deactivating ends all sessions and sign-in links and
 * deletes all API tokens, so that none of them comes back when the user is activated again.
 * @throws AppError `not_found`; `conflict` for a taken name, for the last administrator, for the caller themselves, and
 * if the user is not as expected; `invalid` and `forbidden` as in `createUser`.
 */
export async function updateUser(
  deps: PeopleDeps,
  id: number,
  request: UpdateUserRequest,
  caller: Caller,
): Promise<User> {
  const name = request.name === undefined ? undefined : nameOf(request.name);
  await changePeople(deps, async (tx) => {
    const user = await lockUserFor(tx, caller, id);
    await refuseOutdated(tx, user, request.expected);
    const to = {
      name: name ?? user.name,
      displayName: request.displayName ?? user.displayName,
      description: request.description ?? user.description,
      isActive: request.isActive ?? user.isActive,
    };
    if (!to.isActive && user.isActive) refuseOneself(caller, id, 'deactivate');
    await updateUserRow(tx, id, to, deps.now());
    const ended = user.isActive && !to.isActive ? await endEverything(tx, id) : {};
    const groups =
      request.userGroupIds === undefined
        ? {}
        : await changeGroups(deps, tx, caller, id, request.userGroupIds);
    const { displayName, description, isActive } = user;
    await recordAudit(tx, {
      ...auditedBy(caller),
      action: 'user.changed',
      object: { kind: 'user', id },
      detail: { from: { name: user.name, displayName, description, isActive }, to, ...ended, ...groups },
    });
  }).catch((error) => {
    throw nameTaken(error, name);
  });
  deps.authenticator.forgetUser(id);
  return getUser(deps, id);
}

/**
 * Deletes a user whom nothing names except the audit log, which keeps the name. Others can only be deactivated: the
 * name of a user who started a run or wrote a job must stay visible there.
 * @throws AppError `not_found`; `conflict` for a user who is named elsewhere, for the last administrator and for the
 * caller themselves; `forbidden` for a user who holds more than the caller.
 */
export async function deleteUser(deps: PeopleDeps, id: number, caller: Caller): Promise<void> {
  await changePeople(deps, async (tx) => {
    const user = await lockUserFor(tx, caller, id);
    refuseOneself(caller, id, 'delete');
    const named = await tablesNaming(tx, id);
    if (named.length > 0) {
      const where = named.map((table) => table.replaceAll('_', ' ')).join(', ');
      throw new AppError(
        'conflict',
        `${user.name} is named in past actions (${where}) and can’t be deleted. Deactivate the user instead.`,
      );
    }
    const grants = await recordGoingGrants(tx, { kind: 'user', id }, caller);
    await deleteUserRow(tx, id);
    await recordAudit(tx, {
      ...auditedBy(caller),
      action: 'user.deleted',
      object: { kind: 'user', id },
      detail: { name: user.name, kind: user.kind, grants },
    });
  });
  deps.authenticator.forgetUser(id);
}

async function joinGroups(
  deps: PeopleDeps,
  tx: Tx,
  caller: Caller,
  userId: number,
  groupIds: readonly number[],
): Promise<string[]> {
  const groups = await existingUserGroups(tx, groupIds);
  for (const [i, id] of groupIds.entries()) {
    if (!groups.some((group) => group.id === id)) {
      throw invalidField(`userGroupIds[${i}]`, `There is no user group ${id}.`);
    }
  }
  await requireAtLeast(tx, caller, await grantsOfGroups(tx, groupIds));
  for (const { id } of groups) await addMember(tx, id, userId, deps.now());
  return groups.map(({ name }) => name).sort();
}

async function refuseOutdated(
  tx: Tx,
  user: Pick<User, 'id' | 'name' | 'displayName' | 'description' | 'isActive'>,
  expected: UpdateUserRequest['expected'],
): Promise<void> {
  if (expected === undefined) return;
  const { name, displayName, description, isActive } = user;
  const now = { name, displayName, description, isActive, userGroupIds: await groupIdsOf(tx, user.id) };
  const { userGroupIds: groups } = expected as { userGroupIds?: unknown };
  const sorted = Array.isArray(groups) ? { userGroupIds: groups.toSorted((a, b) => a - b) } : {};
  refuseChanged(`User ${name}`, now, { ...expected, ...sorted });
}

/** Groups that the user leaves need no check: their grants are among the user's own, which the caller holds already. */
async function changeGroups(
  deps: PeopleDeps,
  tx: Tx,
  caller: Caller,
  userId: number,
  wanted: readonly number[],
): Promise<{ joined: string[]; left: number[] }> {
  const present = await groupIdsOf(tx, userId);
  const left = present.filter((id) => !wanted.includes(id));
  for (const id of left) await removeMember(tx, id, userId);
  const joined = await joinGroups(
    deps,
    tx,
    caller,
    userId,
    wanted.filter((id) => !present.includes(id)),
  );
  return { joined, left };
}

async function endEverything(tx: Tx, userId: number) {
  await deleteSignInCodes(tx, userId);
  return {
    endedSessions: await deleteOtherSessions(tx, userId, null),
    deletedTokens: await deleteApiTokens(tx, userId),
  };
}

function refuseOneself(caller: Caller, id: number, verb: 'deactivate' | 'delete'): void {
  if (caller.userId !== id) return;
  throw new AppError('conflict', `Nobody can ${verb} themselves. Ask another administrator.`);
}
