// What the features of this folder share.
import type { Sql } from '../store/connection.ts';
import type { Authenticator } from './authenticator.ts';
import type { SignInLimits } from './sign-in-limits.ts';

export interface IdentityDeps {
  sql: Sql;
  now: () => Date;
  authenticator: Authenticator;
  signInLimits: SignInLimits;
}

/** Where a request came from, for the audit log. */
export interface Origin {
  address: string;
  requestId: string;
}
