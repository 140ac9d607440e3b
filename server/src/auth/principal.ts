// Who calls, and what that one may do.
import type { Authority } from './authority.ts';

/** A signed-in user, by session or API token. */
export interface Principal {
  userId: number;
  name: string;
  /** What they may do and where. */
  authority: Authority;
  via: 'session' | 'api_token';
  /** The session or token row, for sign-out and audit. */
  viaId: number;
  /** What the API token is called, for the audit log. */
  tokenName?: string;
}
