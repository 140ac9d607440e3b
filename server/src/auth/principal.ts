// Who is calling, and what they may do.
import type { Authority } from './authority.ts';

/** A user who is signed in by a session or an API token. */
export interface Principal {
  userId: number;
  name: string;
  /** What they may do and where. */
  authority: Authority;
  via: 'session' | 'api_token';
  /** Id of the session or token row, for signing out and for the audit log. */
  viaId: number;
  /** Name of the API token, for the audit log. */
  tokenName?: string;
}
