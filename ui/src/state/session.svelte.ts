// Who is signed in, and what they may do where. Rights may change at any time, so they are read again regularly.
import type { Me, Permission, Scope } from '@opsconductor/protocol';
import { ApiError } from '../api/client.ts';
import { exchangeCode, fetchMe, signIn, signOut } from '../api/people/session.ts';

const refreshEveryMs = 15_000;
/** While the server doesn't answer a document that has just been opened. */
const askAgainMs = 5_000;

export type SessionState = 'checking' | 'signed-out' | 'signed-in' | 'unreachable';

export class Session {
  state = $state<SessionState>('checking');
  /** Kept after the session has ended, as what is on the page is still theirs. */
  me = $state.raw<Me>();
  /** The session ended without a sign-out. The page stays until its user is back. */
  ended = $state(false);
  /** Another user has signed in. Nothing in this document is meant for them. */
  replaced = $state(false);
  /** Id of the first user of this document, kept after they sign out. */
  #owner: number | undefined;
  #back: { promise: Promise<void>; resolve: () => void } | undefined;

  /** Returns whether the permission is held anywhere; decides what to offer at all. */
  may(permission: Permission): boolean {
    return this.me?.permissions.includes(permission) ?? false;
  }

  mayEverywhere(permission: Permission): boolean {
    return this.#reach(permission)?.everywhere ?? false;
  }

  /**
   * Returns whether the permission is held on something in these scopes: a job's category, or a target's segment and
   * target groups.
   */
  mayOn(permission: Permission, scopes: readonly Scope[]): boolean {
    const reach = this.#reach(permission);
    if (reach === undefined) return false;
    const lies = (within: readonly Scope[]) =>
      within.some(({ kind, id }) => scopes.some((scope) => scope.kind === kind && scope.id === id));
    return reach.everywhere || (reach.within.length > 0 && reach.within.every(lies));
  }

  /** Reads the person's rights again. If no answer comes, what is known stays. */
  async refresh(): Promise<void> {
    if (this.state !== 'signed-in') return;
    const before = this.me;
    try {
      const me = await fetchMe();
      // If someone signed in in the meantime, what that set is newer than this answer.
      if (this.me === before && this.state === 'signed-in') this.#enter(me);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
    }
  }

  /** Called after a request was refused: the person's rights may have changed, so it reads them again. */
  refused(): void {
    void this.refresh();
  }

  /**
   * Returns a promise while the session has ended but its page is still shown, else undefined. It resolves when the
   * same user has signed in again, and never if another user has.
   */
  whenBack(): Promise<void> | undefined {
    return this.replaced ? new Promise(() => {}) : this.#back?.promise;
  }

  /** Keeps the person's rights up to date while the console is visible. Returns the function that stops this. */
  watch(): () => void {
    const look = () => {
      if (document.visibilityState !== 'visible') return;
      void this.refresh();
      // The user may have signed in in another tab.
      if (this.ended) void this.#comeBack();
    };
    const timer = setInterval(() => {
      if (!this.ended) look();
    }, refreshEveryMs);
    document.addEventListener('visibilitychange', look);
    return () => {
      clearInterval(timer);
      document.removeEventListener('visibilitychange', look);
    };
  }

  /** Asks the server who is signed in. */
  async check(): Promise<void> {
    this.ended = false;
    try {
      this.#enter(await fetchMe());
    } catch (error) {
      if (error instanceof ApiError && error.code === 'unauthenticated') this.state = 'signed-out';
      else this.state = 'unreachable';
    }
  }

  /** Returns the name of whoever is signed in in this browser, without showing the console; undefined if nobody is. */
  async signedInName(): Promise<string | undefined> {
    try {
      return (await fetchMe()).name;
    } catch (error) {
      if (error instanceof ApiError) return undefined;
      throw error;
    }
  }

  /** Asks again until the server has answered. Returns the function that stops this. */
  keepAsking(): () => void {
    let isAsking = false;
    const ask = async () => {
      // A question that hangs and fails later must not undo the answer to another one.
      if (isAsking) return;
      isAsking = true;
      await this.check();
      isAsking = false;
    };
    const timer = setInterval(() => void ask(), askAgainMs);
    return () => clearInterval(timer);
  }

  async exchange(code: string): Promise<void> {
    this.#enter(await exchangeCode(code));
  }

  async signIn(name: string, password: string): Promise<void> {
    this.#enter(await signIn(name, password));
  }

  async signOut(): Promise<void> {
    try {
      await signOut();
    } catch (error) {
      // The session had already ended, so this counts as signed out.
      if (!(error instanceof ApiError && error.code === 'unauthenticated')) throw error;
    }
    this.me = undefined;
    this.ended = false;
    this.#back = undefined;
    this.state = 'signed-out';
  }

  /** Call when the server no longer knows the session. */
  lost(): void {
    // Every request under way finds out; only the first one ends the session.
    if (this.state === 'signed-in') {
      this.ended = true;
      let resolve = () => {};
      const promise = new Promise<void>((done) => {
        resolve = done;
      });
      this.#back = { promise, resolve };
    }
    if (!this.ended) this.me = undefined;
    this.state = 'signed-out';
  }

  #reach(permission: Permission) {
    return this.me?.reach.find((one) => one.permission === permission);
  }

  async #comeBack(): Promise<void> {
    try {
      this.#enter(await fetchMe());
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
    }
  }

  #enter(me: Me) {
    this.ended = false;
    if (this.#owner !== undefined && this.#owner !== me.id) {
      this.me = undefined;
      this.state = 'checking';
      this.replaced = true;
      return;
    }
    this.#owner = me.id;
    // Don't replace `me` if nothing changed: pages would react for nothing.
    if (JSON.stringify(me) !== JSON.stringify(this.me)) this.me = me;
    this.state = 'signed-in';
    this.#back?.resolve();
    this.#back = undefined;
  }
}

export const session = new Session();
