// Grants roles and permissions, and revokes grants.
import {
  type CreateGrantRequest,
  type GrantQuery,
  limits,
  type NamedScope,
  permissionReach,
  type RoleGrant,
  reachesInto,
} from '@opsconductor/protocol';
import { recordAudit } from '../audit/record-audit.ts';
import type { Caller } from '../caller.ts';
import { AppError, invalidField, notFound } from '../errors.ts';
import { type Queryable, sqlState, type Tx, violatedConstraint } from '../store/database/connection.ts';
import { decodeCursor, pageOf } from '../store/database/cursor.ts';
import {
  deleteGrant as deleteGrantRow,
  findGrant,
  type GrantRow,
  insertGrant,
  searchGrants,
} from '../store/people/grants.ts';
import { nameScopes } from '../store/people/scope-names.ts';
import { existingUserGroups, memberIds } from '../store/people/user-groups.ts';
import { findUserById } from '../store/people/users.ts';
import { grantEntry } from './audit-grants.ts';
import { changePeople, requireAtLeast } from './change-people.ts';
import type { PeopleDeps } from './people-deps.ts';

const foreignKeyViolation = '23503';

/** Newest first. */
export async function listGrants(
  deps: Pick<PeopleDeps, 'sql'>,
  query: GrantQuery,
): Promise<{ items: RoleGrant[]; nextCursor: string | null }> {
  const { limit = limits.defaultPageItems, cursor, ...filter } = query;
  if (filter.scopeId !== undefined && (filter.scopeKind ?? 'everywhere') === 'everywhere') {
    throw invalidField('query.scopeId', 'Needs a scopeKind of category, segment or target_group.');
  }
  const beforeId =
    cursor === undefined ? Number.MAX_SAFE_INTEGER : decodeCursor(cursor, ['number'] as const)[0];
  const rows = await searchGrants(deps.sql, filter, { limit: limit + 1, beforeId });
  return pageOf(rows, limit, (row) => [row.id], describeGrant);
}

/**
 * Grants a role or one permission.
 * @throws AppError `invalid` unless there is exactly one subject and either a role or a permission, for something that
 * does not exist, and for a permission that has no meaning on that kind of scope; `forbidden` for what the caller does
 * not hold there; `conflict` if it was already granted.
 */
export async function createGrant(
  deps: PeopleDeps,
  request: CreateGrantRequest,
  caller: Caller,
): Promise<RoleGrant> {
  checkShape(request);
  const { userId = null, userGroupId = null, role = null, permission = null } = request;
  const { id, affected } = await changePeople(deps, async (tx) => {
    const scope = await scopeOf(tx, request);
    const affected = await subjectOf(tx, request);
    await requireAtLeast(tx, caller, [{ role, permission, scope }]);
    const id = await insertGrant(
      tx,
      { userId, userGroupId, role, permission, scope, createdBy: caller.userId },
      deps.now(),
    );
    await recordAudit(tx, grantEntry(caller, 'grant.created', await mustFind(tx, id)));
    return { id, affected };
  }).catch((error) => {
    if (violatedConstraint(error) === 'role_grants_once') {
      throw new AppError('conflict', 'This is already granted.', { cause: error });
    }
    if (sqlState(error) !== foreignKeyViolation) throw error;
    throw new AppError('conflict', 'The scope of the grant was deleted meanwhile.', { cause: error });
  });
  deps.authenticator.forgetUsers(affected);
  return describeGrant(await mustFind(deps.sql, id));
}

/**
 * Revokes a grant.
 * @throws AppError `not_found`; `forbidden` for what the caller does not hold there; `conflict` for the last
 * administrator's.
 */
export async function deleteGrant(deps: PeopleDeps, id: number, caller: Caller): Promise<void> {
  const affected = await changePeople(deps, async (tx) => {
    const grant = await findGrant(tx, id);
    if (grant === undefined) throw notFound('Grant');
    await requireAtLeast(tx, caller, [grant]);
    const { subject } = grant;
    const affected = subject.kind === 'user' ? [subject.id] : await memberIds(tx, subject.id);
    await deleteGrantRow(tx, id);
    await recordAudit(tx, grantEntry(caller, 'grant.deleted', grant));
    return affected;
  });
  deps.authenticator.forgetUsers(affected);
}

function checkShape({ userId, userGroupId, role, permission, scope }: CreateGrantRequest): void {
  if ((userId === undefined) === (userGroupId === undefined)) {
    throw invalidField('', 'Give either a userId or a userGroupId.');
  }
  if ((role === undefined) === (permission === undefined)) {
    throw invalidField('', 'Give either a role or a permission.');
  }
  if (permission === undefined || scope === undefined || scope === null) return;
  if (!reachesInto(permission, scope.kind)) {
    const kinds = permissionReach[permission];
    const allowed =
      kinds.length === 0
        ? 'no scope: it is granted everywhere or not at all'
        : kinds.map(kindWords).join(', ');
    const message = `${permission} has no meaning on a ${scope.kind.replace('_', ' ')}. Allowed: ${allowed}.`;
    throw invalidField('scope', message, { found: scope.kind, allowed });
  }
}

function kindWords(kind: 'jobs' | 'targets' | 'segments'): string {
  return { jobs: 'category', targets: 'segment or target_group', segments: 'segment' }[kind];
}

async function scopeOf(tx: Tx, { scope }: CreateGrantRequest): Promise<NamedScope | null> {
  if (scope === undefined || scope === null) return null;
  const [named] = await nameScopes(tx, [scope]);
  if (named === undefined) {
    throw invalidField('scope.id', `There is no ${scope.kind.replace('_', ' ')} ${scope.id}.`);
  }
  return named;
}

/** Returns the users whose rights change. */
async function subjectOf(tx: Tx, { userId, userGroupId }: CreateGrantRequest): Promise<number[]> {
  if (userGroupId !== undefined) {
    const groups = await existingUserGroups(tx, [userGroupId]);
    if (groups.length === 0) throw invalidField('userGroupId', `There is no user group ${userGroupId}.`);
    return memberIds(tx, userGroupId);
  }
  const user = userId === undefined ? undefined : await findUserById(tx, userId);
  if (user === undefined) throw invalidField('userId', `There is no user ${userId}.`);
  return [user.id];
}

async function mustFind(sql: Queryable, id: number): Promise<GrantRow> {
  const grant = await findGrant(sql, id);
  if (grant === undefined) throw new AppError('conflict', 'The grant was revoked meanwhile.');
  return grant;
}

function describeGrant({ categoryIds: _, ...row }: GrantRow): RoleGrant {
  return { ...row, createdAt: row.createdAt.toISOString() };
}
