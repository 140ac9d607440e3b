// Resolves a presented session or API token to a principal. A principal is cached for a few seconds, so that most
// requests cost no query. Whatever is revoked is forgotten at once on this server, and on the others as soon as the bus
// tells them, at the latest when their cache expires.
import { limits } from '@opsconductor/protocol';
import type { Sql } from '../store/database/connection.ts';
import type { ForgetNotice } from '../store/database/notifications.ts';
import { findApiToken, findExpiry, touchApiToken } from '../store/people/api-tokens.ts';
import { findSession, type SessionLimits, touchSession } from '../store/people/sessions.ts';
import { Authority, type Grant, type TokenBounds } from './authority.ts';
import type { Principal } from './principal.ts';
import { hashSecretToken } from './secret-token.ts';

const rememberedMs = 5_000;
const maxRemembered = 10_000;
const touchEveryMs = 60_000;

/** Whose a session or token is, and what they may do. */
interface Found {
  id: number;
  userId: number;
  userName: string;
  grants: Grant[];
  /** Name of the API token. */
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
  /** Sessions that have not been used for this long have ended. */
  sessionIdleMs: number;
  /** Sessions end after this time, used or not. */
  sessionAbsoluteMs?: number;
  /** Tells the other servers. */
  tell?(notice: ForgetNotice): void;
}

type Matches = (principal: Principal) => boolean;

export class Authenticator {
  readonly #deps: AuthenticatorDeps;
  readonly #limits: SessionLimits;
  readonly #remembered = new Map<string, Remembered>();
  /**
   * Owners of the sessions and tokens that were valid at their last look-up. Forgetting a principal does not remove it
   * here, because it says nothing against the token.
   */
  readonly #good = new Map<string, number>();
  readonly #listeners = new Set<(isAffected: Matches) => void>();
  /** Raised by each `forget`, so that the result of a query that began before it is not cached after it. */
  #forgetCount = 0;

  constructor(deps: AuthenticatorDeps) {
    this.#deps = deps;
    this.#limits = {
      idleMs: deps.sessionIdleMs,
      absoluteMs: deps.sessionAbsoluteMs ?? limits.sessionAbsoluteMs,
    };
  }

  /**
   * Returns whether the token was valid at its last look-up, even if it must be looked up again. False once it was
   * found to have ended, or after ten thousand others.
   */
  wasGood(via: Principal['via'], token: string): boolean {
    return this.lastOwner(via, token) !== undefined;
  }

  /** Returns the owner at the last look-up, if `wasGood` is true. */
  lastOwner(via: Principal['via'], token: string): number | undefined {
    return this.#good.get(keyOf(via, hashSecretToken(token).toString('base64')));
  }

  /** Returns whose session it is; undefined if it is unknown, expired, idle for too long, or of an inactive user. */
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

  /** Returns whose API token it is; undefined if it is unknown, expired, or of an inactive user. */
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

  /** Returns when an API token that is not valid expired; undefined if that is not why. */
  async expiryOf(token: string): Promise<Date | undefined> {
    return findExpiry(this.#deps.sql, hashSecretToken(token), this.#deps.now());
  }

  /**
   * Returns the principal as it is now, for what outlives a request; undefined if its session or token has ended. This
   * does not count as use, so it does not keep a session from expiring.
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
   * Calls the listener whenever principals are forgotten on this server, because their sessions or tokens have ended or
   * their rights have changed. Its argument tells whether a given principal is affected. Revocations by other servers
   * are announced too, unless the notice was lost; so call `again` from time to time.
   * @returns the function that removes the listener.
   */
  onForgotten(listener: (isAffected: Matches) => void): () => void {
    // Wrapped, so that a function added twice is removed once at a time.
    const own = (isAffected: Matches) => listener(isAffected);
    this.#listeners.add(own);
    return () => this.#listeners.delete(own);
  }

  /** How often something was forgotten here, for whoever must know whether a principal may be out of date. */
  get changes(): number {
    return this.#forgetCount;
  }

  /** Makes the next request with this session or token query the database. */
  forget(via: Principal['via'], viaId: number): void {
    this.forgetEach(via, [viaId]);
  }

  /** The same for several. */
  forgetEach(via: Principal['via'], ids: readonly number[]): void {
    if (ids.length > 0) this.#forget({ kind: via, ids });
  }

  /** The same for all sessions and tokens of a user, whose grants or password have changed. */
  forgetUser(userId: number): void {
    this.forgetUsers([userId]);
  }

  /** The same for many users, after a change to a group or its grants. */
  forgetUsers(userIds: readonly number[]): void {
    if (userIds.length > 0) this.#forget({ kind: 'user', ids: userIds });
  }

  /**
   * The same for everyone, on every server: after a change of the category tree, grants on categories apply elsewhere.
   */
  forgetEverybody(): void {
    this.#forget({ kind: 'everybody', ids: [0] });
  }

  /** Handles a notice from another server that it has revoked something or changed rights. */
  heard({ kind, ids: listed }: ForgetNotice): void {
    const ids = new Set(listed);
    if (kind === 'everybody') this.forgetAll();
    else
      this.#forgetWhere((principal) =>
        kind === 'user' ? ids.has(principal.userId) : principal.via === kind && ids.has(principal.viaId),
      );
  }

  /** Forgets everyone, because notices may have been missed. */
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

/** Makes room for one entry by removing the oldest. */
function makeRoomIn(keys: Map<string, unknown>): void {
  const oldest = keys.keys().next();
  if (keys.size >= maxRemembered && !oldest.done) keys.delete(oldest.value);
}

/**
 * Includes how the token was presented: a bearer token sent as a cookie must not hit the entry that was cached for it.
 */
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
