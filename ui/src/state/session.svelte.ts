// Who is signed in.
import type { Me, Permission } from '@opsconductor/protocol';
import { ApiError } from '../api/client.ts';
import { exchangeCode, fetchMe, signIn, signOut } from '../api/session.ts';

export type SessionState = 'checking' | 'signed-out' | 'signed-in' | 'unreachable';

class Session {
  state = $state<SessionState>('checking');
  me = $state.raw<Me>();
  /** Why the sign-in page stands there, when not by choice. */
  ended = $state(false);

  may(permission: Permission): boolean {
    return this.me?.permissions.includes(permission) ?? false;
  }

  /** Asks the server who this is. */
  async check(): Promise<void> {
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
    await signOut();
    this.me = undefined;
    this.ended = false;
    this.state = 'signed-out';
  }

  /** The server no longer knows this session. */
  lost(): void {
    this.ended = this.state === 'signed-in';
    this.me = undefined;
    this.state = 'signed-out';
  }

  #enter(me: Me) {
    this.me = me;
    this.ended = false;
    this.state = 'signed-in';
  }
}

export const session = new Session();
