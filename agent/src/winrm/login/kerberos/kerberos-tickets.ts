// Tickets that are kept for a while, separately for each credential. Without them every connection would ask the KDC
// who the user is, and fifty hosts at a time would look like somebody guessing passwords.
import { createHash } from 'node:crypto';
import { abortable } from '../../../timing/abortable.ts';
import { givenUp } from './gss-failure.ts';
import type { GssapiLibrary } from './gssapi-library.ts';
import { type KerberosClient, KerberosCredential, realmOf } from './kerberos-credential.ts';

/** Below the lifetime of any ticket, and short enough after somebody's rights were taken away. */
const keptMs = 300_000;

interface Kept {
  credential: Promise<KerberosCredential>;
  /** The same credential, once it is there. */
  made: KerberosCredential | undefined;
  timer: NodeJS.Timeout;
}

export class KerberosTickets {
  readonly #kept: Map<string, Kept>;
  readonly #owner: string;

  /**
   * @param owner a credential and its version: separates what must not be shared although everything else is the same.
   */
  constructor(owner: string, kept = new Map<string, Kept>()) {
    this.#owner = owner;
    this.#kept = kept;
  }

  /** Returns the same store for another owner: neither sees what the other has. */
  of(owner: string): KerberosTickets {
    return new KerberosTickets(owner, this.#kept);
  }

  /**
   * Returns what logs in as this user; whoever takes it releases it.
   *
   * @throws like `KerberosCredential.acquire`.
   */
  async take(
    library: GssapiLibrary,
    client: KerberosClient,
    signal?: AbortSignal,
  ): Promise<KerberosCredential> {
    const key = keyOf(client, this.#owner);
    const kept = this.#kept.get(key) ?? this.#acquire(key, library, client);
    // Shared in the same turn in which it arrives: any later, somebody who drops it might have freed it.
    const shared = kept.credential.then((credential) => credential.share());
    try {
      return await abortable(shared, signal);
    } catch (error) {
      void shared.then(
        (late) => late.release(),
        () => undefined,
      );
      throw givenUp(error, signal, realmOf(client.user));
    }
  }

  /** Stops giving it out. */
  forget(credential: KerberosCredential): void {
    for (const [key, { made }] of this.#kept) {
      if (made === credential) this.#drop(key);
    }
  }

  /** Gives nothing out any more. What is in use is freed by its last user. */
  close(): void {
    for (const key of [...this.#kept.keys()]) this.#drop(key);
  }

  /** Also serves others who ask meanwhile, so no single caller's signal cancels it. */
  #acquire(key: string, library: GssapiLibrary, { user, from }: KerberosClient): Kept {
    const client = user === undefined ? { from } : { user, from };
    const kept: Kept = {
      credential: KerberosCredential.acquire(library, client),
      made: undefined,
      timer: setTimeout(() => this.#drop(key), keptMs),
    };
    kept.timer.unref();
    this.#kept.set(key, kept);
    kept.credential.then(
      (credential) => {
        kept.made = credential;
      },
      () => this.#kept.get(key) === kept && this.#drop(key),
    );
    return kept;
  }

  #drop(key: string): void {
    const kept = this.#kept.get(key);
    if (kept === undefined) return;
    clearTimeout(kept.timer);
    this.#kept.delete(key);
    void kept.credential.then(
      (credential) => credential.release(),
      () => undefined,
    );
  }
}

function keyOf({ user, from }: KerberosClient, owner: string): string {
  return createHash('sha256')
    .update(JSON.stringify([user, from, owner]))
    .digest('base64');
}
