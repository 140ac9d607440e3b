// Dependencies that the features of this folder share.
import { limits } from '@opsconductor/protocol';
import type { Sql } from '../store/database/connection.ts';
import type { AsOf } from '../store/people/people.ts';
import type { SessionLimits } from '../store/people/sessions.ts';
import type { Authenticator } from './authenticator.ts';
import type { SignInLimits } from './limits/sign-in-limits.ts';

export interface IdentitySettings {
  session: SessionLimits;
  /** The longest lifetime that an API token may have. */
  apiTokenMaxDays: number;
}

export const defaultIdentitySettings: IdentitySettings = {
  session: { idleMs: limits.sessionIdleMs, absoluteMs: limits.sessionAbsoluteMs },
  apiTokenMaxDays: limits.apiTokenMaxDays,
};

export interface IdentityDeps {
  sql: Sql;
  now: () => Date;
  authenticator: Authenticator;
  signInLimits: SignInLimits;
  settings: IdentitySettings;
}

/** Returns the present time and the limits of sessions, to leave out what has expired. */
export function asOf({ now, settings }: Pick<IdentityDeps, 'now' | 'settings'>): AsOf {
  return { now: now(), session: settings.session };
}

/** Where a request came from, for the audit log. */
export interface Origin {
  address: string;
  requestId: string;
}
