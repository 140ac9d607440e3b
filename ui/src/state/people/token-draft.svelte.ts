// An API token that is being put together: with all rights of its user, or fewer.
import type { CreateApiTokenRequest, grantablePermissions, NamedScope } from '@opsconductor/protocol';

type Grantable = (typeof grantablePermissions)[number];

export class TokenDraft {
  name = $state('');
  days = $state(90);
  allPermissions = $state(true);
  permissions = $state.raw<readonly Grantable[]>([]);
  anywhere = $state(true);
  scopes = $state.raw<readonly NamedScope[]>([]);

  /** What still has to be chosen; undefined if the token can be created. */
  readonly missing = $derived.by(() => {
    if (!this.allPermissions && this.permissions.length === 0) return 'Choose at least one permission.';
    if (!this.anywhere && this.scopes.length === 0) return 'Choose at least one place.';
    return undefined;
  });

  choose(permission: Grantable, chosen: boolean): void {
    const others = this.permissions.filter((one) => one !== permission);
    this.permissions = chosen ? [...others, permission] : others;
  }

  addScope(scope: NamedScope): void {
    if (this.scopes.some(({ kind, id }) => kind === scope.kind && id === scope.id)) return;
    this.scopes = [...this.scopes, scope];
  }

  removeScope(scope: NamedScope): void {
    this.scopes = this.scopes.filter((other) => other !== scope);
  }

  request(): CreateApiTokenRequest {
    return {
      name: this.name.trim(),
      expiresInDays: this.days,
      permissions: this.allPermissions ? null : [...this.permissions],
      scopes: this.anywhere ? null : this.scopes.map(({ kind, id }) => ({ kind, id })),
    };
  }
}
