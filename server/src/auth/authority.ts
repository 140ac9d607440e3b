// What a caller may do and where: their own grants, those of their user groups, and the bounds of the API token.
import {
  type Permission,
  permissions,
  type Role,
  reachesInto,
  rolePermissions,
  type Scope,
} from '@opsconductor/protocol';

/** A role or a single permission, everywhere or on one scope. */
export interface Grant {
  role: Role | null;
  permission: Permission | null;
  /** `null` means everywhere. */
  scope: Scope | null;
  /** If the scope is a category: itself and all below it. */
  categoryIds?: readonly number[] | null;
}

/** Where a permission holds. */
export interface Reach {
  everywhere: boolean;
  categoryIds: readonly number[];
  segmentIds: readonly number[];
  targetGroupIds: readonly number[];
}

/** What an API token leaves of its user's rights; `null` means all. */
export interface TokenBounds {
  permissions: readonly Permission[] | null;
  scopes: readonly Scope[] | null;
  /** For those scopes that are categories: themselves and all below them. */
  categoryIds?: readonly number[] | null;
}

const nowhere: Reach = { everywhere: false, categoryIds: [], segmentIds: [], targetGroupIds: [] };
const everywhere: Reach = { ...nowhere, everywhere: true };

export class Authority {
  readonly #granted: ReadonlyMap<Permission, Reach>;
  readonly #token: TokenBounds;
  readonly #tokenReach: Reach;

  constructor(grants: readonly Grant[], token: TokenBounds = { permissions: null, scopes: null }) {
    this.#granted = reachByPermission(grants);
    this.#token = token;
    this.#tokenReach =
      token.scopes === null
        ? everywhere
        : reachOf(token.scopes.map((scope) => ({ scope, categoryIds: token.categoryIds ?? null })));
  }

  /**
   * Returns where the permission holds: a thing must lie in every one of these reaches. If it holds nowhere, returns
   * only the empty reach.
   */
  reach(permission: Permission): readonly Reach[] {
    const granted = permission === 'self' ? everywhere : this.#granted.get(permission);
    if (granted === undefined || this.#token.permissions?.includes(permission) === false) return [nowhere];
    return this.#tokenReach.everywhere ? [granted] : [granted, this.#tokenReach];
  }

  /** Whether an API token leaves fewer rights than its user has, or might. */
  get isLimitedByToken(): boolean {
    return this.#token.permissions !== null || this.#token.scopes !== null;
  }

  /** Returns whether it holds everywhere. What belongs to no scope (people, categories) needs that. */
  holdsEverywhere(permission: Permission): boolean {
    return this.reach(permission).every((reach) => reach.everywhere);
  }

  /** Returns whether it holds on anything at all; the query decides on what. */
  holdsSomewhere(permission: Permission): boolean {
    return !this.reach(permission).some(isNowhere);
  }

  /** Returns what the caller holds on anything at all. The console offers nothing else. */
  permissions(): ReadonlySet<Permission> {
    return new Set(permissions.filter((permission) => this.holdsSomewhere(permission)));
  }

  holdsOnCategory(permission: Permission, categoryId: number): boolean {
    return this.reach(permission).every(
      (reach) => reach.everywhere || reach.categoryIds.includes(categoryId),
    );
  }

  holdsOnSegment(permission: Permission, segmentId: number): boolean {
    return this.reach(permission).every((reach) => reach.everywhere || reach.segmentIds.includes(segmentId));
  }

  /** Returns whether it was granted on exactly this scope, or everywhere; a `null` scope means everywhere. */
  holdsOn(permission: Permission, scope: Scope | null): boolean {
    if (scope === null) return this.holdsEverywhere(permission);
    const ids = { category: 'categoryIds', segment: 'segmentIds', target_group: 'targetGroupIds' } as const;
    return this.reach(permission).every(
      (reach) => reach.everywhere || reach[ids[scope.kind]].includes(scope.id),
    );
  }

  /** Returns the first permission in these grants that this caller doesn't hold, and therefore may not grant. */
  firstBeyond(grants: readonly Grant[]): { permission: Permission; scope: Scope | null } | undefined {
    for (const grant of grants) {
      const { scope } = grant;
      const permission = grantedPermissions(grant).find((one) => !this.holdsOn(one, scope));
      if (permission !== undefined) return { permission, scope };
    }
    return undefined;
  }
}

/**
 * Returns what a grant gives. A role on a scope gives only permissions that have a meaning there. `self` is never
 * granted, because everyone has it.
 */
export function grantedPermissions(grant: Grant): Permission[] {
  const { role, permission, scope } = grant;
  const named = permission !== null ? [permission] : role !== null ? rolePermissions[role] : [];
  return named.filter((one) => one !== 'self' && (scope === null || reachesInto(one, scope.kind)));
}

function reachByPermission(grants: readonly Grant[]): ReadonlyMap<Permission, Reach> {
  const granted = new Map<Permission, Grant[]>();
  for (const grant of grants) {
    for (const permission of grantedPermissions(grant)) {
      const list = granted.get(permission);
      if (list === undefined) granted.set(permission, [grant]);
      else list.push(grant);
    }
  }
  return new Map([...granted].map(([permission, list]) => [permission, reachOf(list)]));
}

/** Grants on a category also apply to those below it. */
function reachOf(grants: readonly Pick<Grant, 'scope' | 'categoryIds'>[]): Reach {
  if (grants.some(({ scope }) => scope === null)) return everywhere;
  const ids = (kind: Scope['kind']) => [
    ...new Set(grants.flatMap(({ scope }) => (scope?.kind === kind ? [scope.id] : []))),
  ];
  const below = grants.flatMap(({ scope, categoryIds }) =>
    scope?.kind === 'category' ? (categoryIds ?? []) : [],
  );
  return {
    everywhere: false,
    categoryIds: [...new Set([...ids('category'), ...below])],
    segmentIds: ids('segment'),
    targetGroupIds: ids('target_group'),
  };
}

function isNowhere(reach: Reach): boolean {
  const { categoryIds, segmentIds, targetGroupIds } = reach;
  return !reach.everywhere && categoryIds.length + segmentIds.length + targetGroupIds.length === 0;
}
