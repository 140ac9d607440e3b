// The error for something that a caller sees but may not do there. It names the permission and the scope, and is
// recorded as a refusal.
import type { ErrorDetail, Permission } from '@opsconductor/protocol';
import type { Caller } from '../caller.ts';
import { AppError } from '../errors.ts';

type Refused = Pick<Caller, 'name' | 'authority' | 'tokenName'>;

/** Says who lacks a permission. A token that limits the rights of its user is named: the user may have it. */
export function whoLacks({ name, authority, tokenName }: Refused): string {
  const by = authority.isLimitedByToken ? ` with the API token “${tokenName}”` : '';
  return `which ${name} does not have${by}`;
}

export class MissingPermission extends AppError {
  readonly permission: Permission;

  /** `where` says on what the caller would need it: `category “ops”`. */
  constructor(caller: Refused, permission: Permission, where: string, details: readonly ErrorDetail[] = []) {
    super('forbidden', `This needs the permission ${permission} on ${where}, ${whoLacks(caller)} there.`, {
      details,
    });
    this.permission = permission;
  }
}
