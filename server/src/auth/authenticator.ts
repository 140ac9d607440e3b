// From a presented session or API token to a principal. A principal is remembered for a few seconds, so that most
// requests cost no query; what this server revokes is forgotten at once, what another one revokes within that time.
import { findApiToken, touchApiToken } from '../store/api-tokens.ts';
import type { Sql } from '../store/connection.ts';
import { findSession, touchSession } from '../store/sessions.ts';
import { Authority, type Grant, type TokenBounds } from './authority.ts';
import type { Principal } from './principal.ts';
import { hashSecretToken } from './secret-token.ts';

const rememberedMs = 5_000;
const maxRemembered = 10_000;
const touchEveryMs = 60_000;

/** Whose a session or token is, with what they may do. */
interface Found {
  id: number;
  userId: number;
  userName: string;
  grants: Grant[];
  /** Of an API token. */
  bounds?: TokenBounds;
  expiresAt: Date | null;
}

interface Remembered {
  principal: Principal;
  untilMs: number;
}

export interface AuthenticatorDeps {
  sql: Sql;
  now: () => Date;
  /** Sessions that were not used for this long have ended. */
  sessionIdleMs: number;
}

export class Authenticator {
  readonly #deps: AuthenticatorDeps;
  readonly #remembered = new Map<string, Remembered>();
  /** Raised by each `forget`, so that a query that began before it is not remembered after it. */
  #forgetCount = 0;

  constructor(deps: AuthenticatorDeps) {
    this.#deps = deps;
  }

  /** Whose the session is; undefined for one that is unknown, expired, idle for too long, or of an inactive user. */
  async bySession(token: string, address: string): Promise<Principal | undefined> {
    return this.#authenticate('session', hashSecretToken(token), async (hash, now) => {
      const row = await findSession(this.#deps.sql, hash, now, this.#deps.sessionIdleMs);
      if (row === undefined) return undefined;
      if (now.getTime() - row.lastSeenAt.getTime() >= touchEveryMs) {
        await touchSession(this.#deps.sql, row.id, now, address);
      }
      return row;
    });
  }

  /** Whose the API token is; undefined for one that is unknown, expired, or of an inactive user. */
  async byApiToken(token: string): Promise<Principal | undefined> {
    return this.#authenticate('api_token', hashSecretToken(token), async (hash, now) => {
      const row = await findApiToken(this.#deps.sql, hash, now);
      if (row === undefined) return undefined;
      if (row.lastUsedAt === null || now.getTime() - row.lastUsedAt.getTime() >= touchEveryMs) {
        await touchApiToken(this.#deps.sql, row.id, now);
      }
      return row;
    });
  }

  /** Makes the next request with that session or token ask the database. */
  forget(via: Principal['via'], viaId: number): void {
    this.#forgetWhere((principal) => principal.via === via && principal.viaId === viaId);
  }

  /** The same for all sessions and tokens of a user: roles or password have changed. */
  forgetUser(userId: number): void {
    this.#forgetWhere((principal) => principal.userId === userId);
  }

  #forgetWhere(matches: (principal: Principal) => boolean): void {
    this.#forgetCount++;
    for (const [key, { principal }] of this.#remembered) {
      if (matches(principal)) this.#remembered.delete(key);
    }
  }

  async #authenticate(
    via: Principal['via'],
    hash: Buffer,
    find: (hash: Buffer, now: Date) => Promise<Found | undefined>,
  ): Promise<Principal | undefined> {
    // A token in the cookie must not pass as what it was remembered as when it was a bearer token.
    const key = `${via} ${hash.toString('base64')}`;
    const now = this.#deps.now();
    const remembered = this.#remembered.get(key);
    if (remembered !== undefined && now.getTime() < remembered.untilMs) return remembered.principal;
    const forgetCount = this.#forgetCount;
    const row = await find(hash, now);
    if (row === undefined) {
      this.#remembered.delete(key);
      return undefined;
    }
    const principal: Principal = {
      userId: row.userId,
      name: row.userName,
      authority: new Authority(row.grants, row.bounds),
      via,
      viaId: row.id,
    };
    if (forgetCount === this.#forgetCount) {
      const endMs = row.expiresAt?.getTime() ?? Number.POSITIVE_INFINITY;
      this.#remember(key, { principal, untilMs: Math.min(now.getTime() + rememberedMs, endMs) });
    }
    return principal;
  }

  #remember(key: string, remembered: Remembered): void {
    this.#remembered.delete(key);
    const oldest = this.#remembered.keys().next();
    if (this.#remembered.size >= maxRemembered && !oldest.done) this.#remembered.delete(oldest.value);
    this.#remembered.set(key, remembered);
  }
}
