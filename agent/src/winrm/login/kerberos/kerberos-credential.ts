// What Kerberos logs in with: the tickets of one credential, in memory of their own. Contexts share it.
import { randomUUID } from 'node:crypto';
import { abortable } from '../../../timing/abortable.ts';
import { givenUp, loginFailure } from './gss-failure.ts';
import { type GssapiLibrary, isError } from './gssapi-library.ts';
import { openMemoryFile } from './memory-file.ts';
import type { CacheOrKeytab, KdcRequest } from './serve-kdc.ts';

export interface KerberosClient {
  /**
   * `name@REALM` or `REALM\name`; the realm is converted to upper case. May be left out with a ticket cache, which
   * names its owner.
   */
  user?: string;
  /** Where the key comes from: a keytab is the content of the file, a cache is the name of one on this machine. */
  from: { password: string } | { keytab: Buffer } | { cache: string };
}

export class KerberosCredential {
  readonly handle: bigint;
  /** The user's realm, whose KDC is asked; empty for the realm in the machine's configuration. */
  readonly realm: string;
  readonly #library: GssapiLibrary;
  readonly #cache: string | undefined;
  readonly #keytab: (() => void) | undefined;
  #users = 1;

  private constructor(
    library: GssapiLibrary,
    made: { handle: bigint; realm: string; cache: string | undefined; keytab: (() => void) | undefined },
  ) {
    this.#library = library;
    this.handle = made.handle;
    this.realm = made.realm;
    this.#cache = made.cache;
    this.#keytab = made.keytab;
  }

  /** @throws {WinrmError} if the credential can not be used; the signal's reason. */
  static async acquire(
    library: GssapiLibrary,
    { user, from }: KerberosClient,
    signal?: AbortSignal,
  ): Promise<KerberosCredential> {
    const principal = user === undefined ? undefined : principalOf(user);
    const realm = realmOf(principal);
    const cache = 'keytab' in from ? `MEMORY:${randomUUID()}` : undefined;
    const keytab = 'keytab' in from ? openMemoryFile(library.koffi, from.keytab) : undefined;
    const asking = library.threads.ask(
      { do: 'acquire', user: principal, from: sourceOf(from, keytab?.path, cache) },
      realm,
      signal,
    );
    const made = asking.then((reply) => {
      if (isError(reply.major) || reply.handle === null) throw loginFailure(reply.problem);
      return new KerberosCredential(library, { handle: reply.handle, realm, cache, keytab: keytab?.close });
    });
    made.catch(() => keytab?.close());
    try {
      return await abortable(made, signal);
    } catch (error) {
      // Nobody waits for this one any more.
      void made.then(
        (late) => late.release(),
        () => undefined,
      );
      throw givenUp(error, signal, realm);
    }
  }

  /** Adds a user. */
  share(): this {
    this.#users += 1;
    return this;
  }

  /** The last user frees it, and the tickets with it. */
  release(): void {
    this.#users -= 1;
    if (this.#users > 0) return;
    this.#keytab?.();
    void this.#library.threads
      .ask({ do: 'release', credential: this.handle, cache: this.#cache }, '')
      .catch(() => undefined);
  }
}

function sourceOf(
  from: KerberosClient['from'],
  keytab: string | undefined,
  cache: string | undefined,
): Extract<KdcRequest, { do: 'acquire' }>['from'] {
  if ('password' in from) return { password: Buffer.from(from.password) };
  if ('cache' in from) return { store: [{ key: 'ccache', value: from.cache }] };
  const store: CacheOrKeytab[] = [
    { key: 'client_keytab', value: `FILE:${keytab}` },
    { key: 'ccache', value: `${cache}` },
  ];
  return { store };
}

/** Returns the realm of a client; empty if the system's configuration says it. */
export function realmOf(user: string | undefined): string {
  return /@([^@]*)$/.exec(user === undefined ? '' : principalOf(user))?.[1] ?? '';
}

/** `CORP\ann` means `ann@CORP`. Realms are in upper case, and a KDC finds them only that way. */
function principalOf(user: string): string {
  const slash = user.indexOf('\\');
  const at = user.lastIndexOf('@');
  if (slash !== -1) return `${user.slice(slash + 1)}@${user.slice(0, slash).toUpperCase()}`;
  return at === -1 ? user : `${user.slice(0, at)}@${user.slice(at + 1).toUpperCase()}`;
}
