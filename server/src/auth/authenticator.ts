// From a presented session or API token to a principal. A principal is remembered for a few seconds, so that most
// requests cost no query. What is revoked is forgotten at once here, and on the other servers when the bus has told them,
// within that time at the latest.
import { limits } from '@opsconductor/protocol';
import type { Sql } from '../store/database/connection.ts';
import type { ForgetNotice } from '../store/database/notifications.ts';
import { findApiToken, touchApiToken } from '../store/people/api-tokens.ts';
import { findSession, type SessionLimits, touchSession } from '../store/people/sessions.ts';
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
  name?: string;
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
  /** Sessions end after this, used or not. */
  sessionAbsoluteMs?: number;
  /** Tells the other servers. */
  tell?(notice: ForgetNotice): void;
}

type Matches = (principal: Principal) => boolean;

export class Authenticator {
  readonly #deps: AuthenticatorDeps;
  readonly #limits: SessionLimits;
  readonly #remembered = new Map<string, Remembered>();
  /** Whose the sessions and tokens are that held when they were looked up last; forgetting leaves them, as it says nothing against them. */
  readonly #good = new Map<string, number>();
  readonly #listeners = new Set<(isAffected: Matches) => void>();
  /** Raised by each `forget`, so that a query that began before it is not remembered after it. */
  #forgetCount = 0;

  constructor(deps: AuthenticatorDeps) {
    this.#deps = deps;
    this.#limits = {
      idleMs: deps.sessionIdleMs,
      absoluteMs: deps.sessionAbsoluteMs ?? limits.sessionAbsoluteMs,
    };
  }

  /** Also where it is to be looked up again; false once it was found to have ended, or after ten thousand others. */
  wasGood(via: Principal['via'], token: string): boolean {
    return this.lastOwner(via, token) !== undefined;
  }

  /** The user whose it was when it was looked up last, as far as `wasGood` tells. */
  lastOwner(via: Principal['via'], token: string): number | undefined {
    return this.#good.get(keyOf(via, hashSecretToken(token).toString('base64')));
  }

  /** Whose the session is; undefined for one that is unknown, expired, idle for too long, or of an inactive user. */
  async bySession(token: string, address: string): Promise<Principal | undefined> {
    const tokenHash = hashSecretToken(token);
    return this.#authenticate('session', tokenHash.toString('base64'), async (now) => {
      const row = await findSession(this.#deps.sql, { tokenHash }, now, this.#limits);
      if (row !== undefined && now.getTime() - row.lastSeenAt.getTime() >= touchEveryMs) {
        await touchSession(this.#deps.sql, row.id, now, address);
      }
      return row;
    });
  }

  /** Whose the API token is; undefined for one that is unknown, expired, or of an inactive user. */
  async byApiToken(token: string, address = 'unknown'): Promise<Principal | undefined> {
    const tokenHash = hashSecretToken(token);
    return this.#authenticate('api_token', tokenHash.toString('base64'), async (now) => {
      const row = await findApiToken(this.#deps.sql, { tokenHash }, now);
      if (row === undefined) return undefined;
      if (row.lastUsedAt === null || now.getTime() - row.lastUsedAt.getTime() >= touchEveryMs) {
        await touchApiToken(this.#deps.sql, row.id, now, address);
      }
      return row;
    });
  }

  /**
   * The principal as it is now, for what outlives a request: undefined when its session or token has ended. Looking is
   * not using: it keeps no session from idling.
   */
  async again(principal: Principal): Promise<Principal | undefined> {
    const { via, viaId: id } = principal;
    return this.#authenticate(via, `#${id}`, async (now) =>
      via === 'session'
        ? findSession(this.#deps.sql, { id }, now, this.#limits)
        : findApiToken(this.#deps.sql, { id }, now),
    );
  }

  /**
   * Calls the listener whenever principals are forgotten on this server, with what tells whether one is among them:
   * their sessions or tokens have ended or their rights have changed. What another server revokes is told as well, unless
   * the notice was lost; ask `again` now and then.
   *
   * @returns what ends it.
   */
  onForgotten(listener: (isAffected: Matches) => void): () => void {
    // Wrapped, so that the same function added twice is ended once at a time.
    const own = (isAffected: Matches) => listener(isAffected);
    this.#listeners.add(own);
    return () => this.#listeners.delete(own);
  }

  /** Makes the next request with that session or token ask the database. */
  forget(via: Principal['via'], viaId: number): void {
    this.#forget({ kind: via, ids: [viaId] });
  }

  /** The same for all sessions and tokens of a user: grants or password have changed. */
  forgetUser(userId: number): void {
    this.forgetUsers([userId]);
  }

  /** The same for many: a group or its grants have changed. */
  forgetUsers(userIds: readonly number[]): void {
    if (userIds.length > 0) this.#forget({ kind: 'user', ids: userIds });
  }

  /** The same for all, on every server: what is granted on a category reaches elsewhere since the tree has changed. */
  forgetEverybody(): void {
    this.#forget({ kind: 'everybody', ids: [0] });
  }

  /** Another server has revoked something, or changed rights. */
  heard({ kind, ids: listed }: ForgetNotice): void {
    const ids = new Set(listed);
    if (kind === 'everybody') this.forgetAll();
    else
      this.#forgetWhere((principal) =>
        kind === 'user' ? ids.has(principal.userId) : principal.via === kind && ids.has(principal.viaId),
      );
  }

  /** Notices may have been missed: everybody is looked up again. */
  forgetAll(): void {
    this.#forgetWhere(() => true);
  }

  #forget(notice: ForgetNotice): void {
    this.heard(notice);
    this.#deps.tell?.(notice);
  }

  #forgetWhere(matches: Matches): void {
    this.#forgetCount++;
    for (const [key, { principal }] of this.#remembered) {
      if (matches(principal)) this.#remembered.delete(key);
    }
    for (const listener of [...this.#listeners]) listener(matches);
  }

  async #authenticate(
    via: Principal['via'],
    presented: string,
    find: (now: Date) => Promise<Found | undefined>,
  ): Promise<Principal | undefined> {
    const key = keyOf(via, presented);
    const now = this.#deps.now();
    const remembered = this.#remembered.get(key);
    if (remembered !== undefined && now.getTime() < remembered.untilMs) return remembered.principal;
    const forgetCount = this.#forgetCount;
    const row = await find(now);
    if (row === undefined) {
      this.#remembered.delete(key);
      this.#good.delete(key);
      return undefined;
    }
    this.#good.delete(key);
    makeRoomIn(this.#good);
    this.#good.set(key, row.userId);
    const principal = principalOf(via, row);
    if (forgetCount === this.#forgetCount) {
      const endMs = row.expiresAt?.getTime() ?? Number.POSITIVE_INFINITY;
      this.#remember(key, { principal, untilMs: Math.min(now.getTime() + rememberedMs, endMs) });
    }
    return principal;
  }

  #remember(key: string, remembered: Remembered): void {
    this.#remembered.delete(key);
    makeRoomIn(this.#remembered);
    this.#remembered.set(key, remembered);
  }
}

/** For one more, by leaving out what was put there longest ago. */
function makeRoomIn(keys: Map<string, unknown>): void {
  const oldest = keys.keys().next();
  if (keys.size >= maxRemembered && !oldest.done) keys.delete(oldest.value);
}

/** A token in the cookie must not pass as what it was remembered as when it was a bearer token. */
function keyOf(via: Principal['via'], presented: string): string {
  return `${via} ${presented}`;
}

function principalOf(via: Principal['via'], row: Found): Principal {
  return {
    userId: row.userId,
    name: row.userName,
    authority: new Authority(row.grants, row.bounds),
    via,
    viaId: row.id,
    ...(via === 'api_token' && row.name !== undefined ? { tokenName: row.name } : {}),
  };
}
