// Answers what a user may do, and why: each right with the grants that give it; or whether they may do one thing in one
// place, and what is missing if not.
import {
  type Access,
  type AccessNeed,
  type AccessQuery,
  type Permission,
  type PermissionAccess,
  type PlaceKind,
  permissions,
  type Reason,
  reachesInto,
  type ScopeKind,
} from '@opsconductor/protocol';
import { Authority, grantedPermissions, type Reach } from '../auth/authority.ts';
import { invalidField, notFound } from '../errors.ts';
import type { Sql } from '../store/database/connection.ts';
import { type FoundPlace, findPlace, type Place } from '../store/people/access-places.ts';
import { type GrantRow, listGrantsOf } from '../store/people/grants.ts';
import { findUserById, type UserRow } from '../store/people/users.ts';

/** The kinds of scope that matter for a kind of thing. */
const scopeKindsOf: Record<PlaceKind, readonly ScopeKind[]> = {
  job: ['category'],
  category: ['category'],
  target: ['segment', 'target_group'],
  segment: ['segment'],
  target_group: ['target_group'],
  run: ['category', 'segment', 'target_group'],
};
const words: Record<PlaceKind, string> = {
  job: 'job',
  category: 'category',
  target: 'target',
  segment: 'segment',
  target_group: 'target group',
  run: 'run',
};

/**
 * Explains a user's rights. API tokens may have less: their bounds are ignored here.
 * @param asking Where the caller may read; nothing is revealed about what lies elsewhere.
 * @throws AppError `not_found` for the user and for what the caller may not see; `invalid` for a permission that has no
 * meaning there, or a place without a permission.
 */
export async function explainAccess(
  deps: { sql: Sql },
  userId: number,
  query: AccessQuery,
  asking: readonly Reach[],
): Promise<Access> {
  const user = await findUserById(deps.sql, userId);
  if (user === undefined) throw notFound('User');
  const grants = await listGrantsOf(deps.sql, userId);
  const { id, name, kind, isActive } = user;
  const { permission } = query;
  const places = placesOf(query);
  if (permission === undefined && places.length > 0) {
    throw invalidField('query.permission', 'Is missing: say what they would do there.');
  }
  return {
    user: { id, name, kind, isActive },
    permissions: heldPermissions(grants).filter((held) => [undefined, held.permission].includes(permission)),
    answer:
      permission === undefined
        ? null
        : await answer({ sql: deps.sql, user, grants, asking }, permission, places),
  };
}

function heldPermissions(grants: readonly GrantRow[]): PermissionAccess[] {
  return permissions.flatMap((permission) => {
    const giving = grants.filter((grant) => grantedPermissions(grant).includes(permission));
    if (giving.length === 0) return [];
    return {
      permission,
      everywhere: giving.some(({ scope }) => scope === null),
      grants: giving.map(reasonOf),
    };
  });
}

/** Whose rights are explained, by which grants, and where the caller may read. */
interface Explained {
  sql: Sql;
  user: UserRow;
  grants: readonly GrantRow[];
  asking: readonly Reach[];
}

async function answer(
  explained: Explained,
  permission: Permission,
  places: readonly Place[],
): Promise<NonNullable<Access['answer']>> {
  const { user, grants } = explained;
  const needs: AccessNeed[] = [];
  if (places.length === 0) needs.push(everywhereNeed(grants, permission));
  for (const place of places) {
    for (const needed of neededOn(permission, place)) {
      needs.push(await needOn(explained, needed, place));
    }
  }
  const missing = needs.filter((need) => !need.isHeld);
  const where = needs.map(({ on }) => (on === null ? 'everywhere' : `on ${words[on.kind]} “${on.name}”`));
  const what = `${permission} ${[...new Set(where)].join(' and ')}`;
  if (!user.isActive)
    return { isAllowed: false, summary: `${user.name} is not active and may do nothing.`, needs };
  return missing.length === 0
    ? { isAllowed: true, summary: `${user.name} may: ${what}.`, needs }
    : {
        isAllowed: false,
        summary: `${user.name} may not: ${what}. ${missing.map((need) => need.missing).join(' ')}`,
        needs,
      };
}

/** Running on a target also uses its credential. */
function neededOn(permission: Permission, place: Place): Permission[] {
  return permission === 'run' && place.kind === 'target' ? ['run', 'credentials.use'] : [permission];
}

function everywhereNeed(grants: readonly GrantRow[], permission: Permission): AccessNeed {
  const giving = grants.filter(
    (grant) => grant.scope === null && grantedPermissions(grant).includes(permission),
  );
  const isHeld = giving.length > 0;
  const missing = isHeld ? null : `Missing: ${permission}, granted everywhere.`;
  return { permission, on: null, isHeld, grants: giving.map(reasonOf), missing };
}

async function needOn(
  { sql, grants, asking }: Explained,
  permission: Permission,
  place: Place,
): Promise<AccessNeed> {
  if (!scopeKindsOf[place.kind].some((kind) => reachesInto(permission, kind))) {
    throw invalidField('query.permission', `${permission} is not a right on a ${words[place.kind]}.`, {
      found: permission,
    });
  }
  const giving = grants.filter((grant) => grantedPermissions(grant).includes(permission));
  const reaches = [giving, ...giving.map((grant) => [grant])].map((some) =>
    new Authority(some).reach(permission),
  );
  const found = await findPlace(sql, place, asking, { permission, reachesOf: reaches });
  if (found === undefined) throw notFound(words[place.kind].replace(/^./, (first) => first.toUpperCase()));
  const [isHeld = false, ...each] = found.held;
  return {
    permission,
    on: { kind: found.kind, id: found.id, name: found.name },
    isHeld,
    // On a run, several grants may give the permission only together, each for some of its targets.
    grants: giving.filter((_, i) => each[i] === true || (isHeld && !each.includes(true))).map(reasonOf),
    missing: isHeld ? null : missingOn(permission, found),
  };
}

function missingOn(permission: Permission, found: FoundPlace): string {
  return `Missing: ${permission} on ${found.within}, or everywhere.`;
}

function placesOf(query: AccessQuery): Place[] {
  const ids: Record<PlaceKind, number | undefined> = {
    job: query.job,
    target: query.target,
    run: query.run,
    category: query.category,
    segment: query.segment,
    target_group: query.targetGroup,
  };
  return (Object.entries(ids) as [PlaceKind, number | undefined][]).flatMap(([kind, id]) =>
    id === undefined ? [] : { kind, id },
  );
}

function reasonOf({ id, subject, role, scope }: GrantRow): Reason {
  return { grantId: id, through: subject, role, scope };
}
