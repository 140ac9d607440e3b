// A grant that is being put together: what it would give, and why it can't be given.
import {
  type CreateGrantRequest,
  type grantablePermissions,
  type NamedScope,
  type Permission,
  type Role,
  reachesInto,
  rolePermissions,
  scopeKinds,
} from '@opsconductor/protocol';
import { session } from '../session.svelte.ts';

type Grantable = (typeof grantablePermissions)[number];

export class GrantDraft {
  of = $state<'role' | 'permission'>('role');
  role = $state<Role>('viewer');
  permission = $state<Grantable>('read');
  everywhere = $state(false);
  /** The scope that was picked, unless the grant is everywhere. */
  picked = $state.raw<NamedScope>();

  /** Kinds of scope that it applies to. If there are none, it can only be granted everywhere. */
  readonly scopeKinds = $derived(
    scopeKinds.filter((kind) => this.#named.some((permission) => reachesInto(permission, kind))),
  );
  readonly isEverywhere = $derived(this.everywhere || this.scopeKinds.length === 0);
  /** `null` means everywhere. `undefined`: no scope is picked, or one that the grant doesn't apply to. */
  readonly scope = $derived.by((): NamedScope | null | undefined => {
    if (this.isEverywhere) return null;
    return this.picked !== undefined && this.scopeKinds.includes(this.picked.kind) ? this.picked : undefined;
  });
  readonly gives: readonly Permission[] = $derived(
    this.#named.filter((permission) => this.#means(permission)),
  );
  /** The role's permissions that don't apply to that scope. */
  readonly without: readonly Permission[] = $derived(
    this.scope === undefined ? [] : this.#named.filter((permission) => !this.#means(permission)),
  );
  /** Permissions that the granting person doesn't hold there, and therefore can't grant. */
  readonly beyond: readonly Permission[] = $derived.by(() => {
    const { scope } = this;
    if (scope === undefined) return [];
    return this.gives.filter((permission) =>
      scope === null ? !session.mayEverywhere(permission) : !session.mayOn(permission, [scope]),
    );
  });
  readonly ready = $derived(this.scope !== undefined && this.beyond.length === 0);

  request(subject: { kind: 'user' | 'user_group'; id: number }): CreateGrantRequest {
    const { scope } = this;
    if (scope === undefined) throw new Error('no scope is picked');
    return {
      ...(subject.kind === 'user' ? { userId: subject.id } : { userGroupId: subject.id }),
      ...(this.of === 'role' ? { role: this.role } : { permission: this.permission }),
      scope: scope === null ? null : { kind: scope.kind, id: scope.id },
    };
  }

  get #named(): readonly Permission[] {
    const named = this.of === 'role' ? rolePermissions[this.role] : [this.permission];
    return named.filter((permission) => permission !== 'self');
  }

  #means(permission: Permission): boolean {
    const { scope } = this;
    return scope === null || scope === undefined || reachesInto(permission, scope.kind);
  }
}
