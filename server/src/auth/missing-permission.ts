// The error for something that a caller sees but may not do there. It names the permission and the scope, and is
// recorded as a refusal.
import type { ErrorDetail, Permission } from '@opsconductor/protocol';
import { AppError } from '../errors.ts';

export class MissingPermission extends AppError {
  readonly permission: Permission;

  /** `where` says on what the caller would need it: `category “ops”`. */
  constructor(
    caller: { name: string },
    permission: Permission,
    where: string,
    details: readonly ErrorDetail[] = [],
  ) {
    super(
      'forbidden',
      `This needs the permission ${permission} on ${where}, which ${caller.name} does not have there.`,
      { details },
    );
    this.permission = permission;
  }
}
