// Who is signed in, and what they may do where. Rights change while one works: they are read again and again.
import type { Me, Permission, Scope } from '@opsconductor/protocol';
import { ApiError } from '../api/client.ts';
import { exchangeCode, fetchMe, signIn, signOut } from '../api/people/session.ts';

const refreshEveryMs = 15_000;

export type SessionState = 'checking' | 'signed-out' | 'signed-in' | 'unreachable';

export class Session {
  state = $state<SessionState>('checking');
  /** Also while the session is over: what stands on the page is theirs. */
  me = $state.raw<Me>();
  /** It ended not by choice: the page stands until its user is back. */
  ended = $state(false);
  /** Another user came in: nothing of this document is for them. */
  replaced = $state(false);
  /** Who had this document first, also once they have signed out. */
  #owner: number | undefined;
  #back: { promise: Promise<void>; resolve: () => void } | undefined;

  /** Whether it is held anywhere: what to offer at all. */
  may(permission: Permission): boolean {
    return this.me?.permissions.includes(permission) ?? false;
  }

  mayEverywhere(permission: Permission): boolean {
    return this.#reach(permission)?.everywhere ?? false;
  }

  /** Whether it is held on a thing that lies in these scopes: a job's category, a target's segment and target groups. */
  mayOn(permission: Permission, scopes: readonly Scope[]): boolean {
    const reach = this.#reach(permission);
    if (reach === undefined) return false;
    const lies = (within: readonly Scope[]) =>
      within.some(({ kind, id }) => scopes.some((scope) => scope.kind === kind && scope.id === id));
    return reach.everywhere || (reach.within.length > 0 && reach.within.every(lies));
  }

  /** Reads again what the person may do. What is known stays where no answer comes. */
  async refresh(): Promise<void> {
    if (this.state !== 'signed-in') return;
    const before = this.me;
    try {
      const me = await fetchMe();
      // Who came in meanwhile is known better.
      if (this.me === before && this.state === 'signed-in') this.#enter(me);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
    }
  }

  /** Something was refused: what was offered may no longer be allowed. */
  refused(): void {
    void this.refresh();
  }

  /** Undefined unless the session is over while its page stands; resolves when the same user is signed in again. */
  whenBack(): Promise<void> | undefined {
    return this.replaced ? new Promise(() => {}) : this.#back?.promise;
  }

  /** Follows the person's rights while the console is looked at. Answers what ends it. */
  watch(): () => void {
    const look = () => {
      if (document.visibilityState !== 'visible') return;
      void this.refresh();
      // They may have signed in in another tab.
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

  /** Asks the server who this is. */
  async check(): Promise<void> {
    this.ended = false;
    try {
      this.#enter(await fetchMe());
    } catch (error) {
      if (error instanceof ApiError && error.code === 'unauthenticated') this.state = 'signed-out';
      else this.state = 'unreachable';
    }
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
      // It had ended before: it is left all the same.
      if (!(error instanceof ApiError && error.code === 'unauthenticated')) throw error;
    }
    this.me = undefined;
    this.ended = false;
    this.#back = undefined;
    this.state = 'signed-out';
  }

  /** The server no longer knows this session. */
  lost(): void {
    // Every request that was under way finds out: only the first ends a session.
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
    // The same answer is no news: pages would follow it in vain.
    if (JSON.stringify(me) !== JSON.stringify(this.me)) this.me = me;
    this.state = 'signed-in';
    this.#back?.resolve();
    this.#back = undefined;
  }
}

export const session = new Session();
