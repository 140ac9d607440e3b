// What a thread does that may wait for a KDC: it asks for tickets and makes tokens from them, through the system's
// GSSAPI. The results are pointers, which are valid in the whole process.
import type { MessagePort } from 'node:worker_threads';
import type koffiModule from 'koffi';
import type { LibraryHandle, TypeObject } from 'koffi';

export interface CacheOrKeytab {
  key: 'ccache' | 'client_keytab';
  value: string;
}

export type KdcRequest =
  | { do: 'acquire'; user: string | undefined; from: { password: Uint8Array } | { store: CacheOrKeytab[] } }
  | {
      do: 'establish';
      credential: bigint;
      context: bigint | null;
      target: { name: string; isPrincipal: boolean };
      /** Channel binding of the TLS connection. */
      binding: Uint8Array | undefined;
      token: Uint8Array | undefined;
    }
  /** `cache`: in this process's memory, and destroyed with it. */
  | { do: 'release'; credential: bigint; cache: string | undefined };

export interface KdcReply {
  /** A routine error is in bits 16 to 23, an error of the caller above them. */
  major: number;
  /** What went wrong, in the library's words. */
  problem: string;
  /** Handle of the credential or the context. */
  handle: bigint | null;
  token: Uint8Array;
  flags: number;
}

/** The thread is given the text of this function, which therefore gets everything it needs as parameters. */
export function serveKdc(
  port: MessagePort,
  koffi: typeof koffiModule,
  names: { gssapi: string; krb5: string },
): void {
  interface Bytes {
    length: number | bigint;
    value: bigint | Buffer | null;
  }
  const library = koffi.load(names.gssapi);
  const oid = koffi.struct({ length: 'uint32_t', elements: 'void *' });
  const buffer = koffi.struct({ length: 'size_t', value: 'void *' });
  const bindings = koffi.struct({
    initiatorType: 'uint32_t',
    initiator: buffer,
    acceptorType: 'uint32_t',
    acceptor: buffer,
    application: buffer,
  });
  const element = koffi.struct({ key: 'str', value: 'str' });
  const store = koffi.struct({ count: 'uint32_t', elements: koffi.pointer(element) });
  const status = 'uint32_t';
  const out = (type: TypeObject | string) => koffi.out(koffi.pointer(type as TypeObject));
  const inout = (type: TypeObject | string) => koffi.inout(koffi.pointer(type as TypeObject));
  const word = out('uint32_t');
  const handle = out('void *');
  const of = (from: LibraryHandle, name: string, result: string, types: unknown[]) =>
    from.func(name, result, types as Parameters<LibraryHandle['func']>[3]);
  const gss = (name: string, types: unknown[]) => of(library, name, status, types);
  const importName = gss('gss_import_name', [word, koffi.pointer(buffer), koffi.pointer(oid), handle]);
  const releaseName = gss('gss_release_name', [word, inout('void *')]);
  const releaseBuffer = gss('gss_release_buffer', [word, inout(buffer)]);
  const releaseCredential = gss('gss_release_cred', [word, inout('void *')]);
  const displayTypes = [word, status, 'int', 'void *', inout('uint32_t'), out(buffer)];
  const displayStatus = gss('gss_display_status', displayTypes);
  const credentialTypes = [status, 'void *', 'int'];
  const byPassword = gss('gss_acquire_cred_with_password', [
    ...[word, 'void *', koffi.pointer(buffer), ...credentialTypes],
    ...[handle, 'void *', 'void *'],
  ]);
  const fromStore = gss('gss_acquire_cred_from', [
    ...[word, 'void *', ...credentialTypes, koffi.pointer(store)],
    ...[handle, 'void *', 'void *'],
  ]);
  const initContext = gss('gss_init_sec_context', [
    ...[word, 'void *', inout('void *'), 'void *', koffi.pointer(oid), status, status],
    ...[koffi.pointer(bindings), koffi.pointer(buffer), 'void *', out(buffer), word, 'void *'],
  ]);
  const oidOf = (hex: string) => ({ length: hex.length / 2, elements: Buffer.from(hex, 'hex') });
  const krb5 = oidOf('2a864886f712010202');
  const krb5Principal = oidOf('2a864886f71201020201');
  const hostbasedService = oidOf('2a864886f71201020104');
  const initiate = 1;
  // Mutual authentication, replay and sequence detection, confidentiality, integrity; but not delegation, which is 1.
  const asked = 2 | 4 | 8 | 16 | 32;
  const none = { length: 0, value: null };
  const bytesOf = (bytes: Uint8Array | string) => {
    const value = Buffer.from(bytes as Uint8Array);
    return { length: value.length, value };
  };
  const take = (made: Bytes): Buffer => {
    const length = Number(made.length);
    if (length === 0 || made.value === null) return Buffer.alloc(0);
    const copy = Buffer.from(Buffer.from(koffi.view(made.value as bigint, length)));
    releaseBuffer([0], made);
    return copy;
  };
  const isError = (major: number) => major >>> 16 !== 0;

  // In the thread that failed, because the library keeps the texts there.
  function describe(major: number, minor: number): string {
    const texts: string[] = [];
    for (const [code, type] of [
      [major, 1],
      [minor, 2],
    ] as const) {
      if (type === 2 && minor === 0) continue;
      const text = {} as Bytes;
      if (!isError(displayStatus([0], code >>> 0, type, null, [0], text))) texts.push(take(text).toString());
    }
    return texts[texts.length - 1] ?? `status ${major}`;
  }

  function reply(major: number, minor: number, more: Partial<KdcReply> = {}): KdcReply {
    const problem = isError(major) ? describe(major, minor) : '';
    return { major, problem, handle: null, token: new Uint8Array(), flags: 0, ...more };
  }

  function named(
    name: string,
    type: typeof krb5Principal,
    use: (pointer: bigint | null) => KdcReply,
  ): KdcReply {
    const minor: [number] = [0];
    const pointer: [bigint | null] = [null];
    const major = importName(minor, bytesOf(name), type, pointer);
    if (isError(major)) return reply(major, minor[0]);
    try {
      return use(pointer[0]);
    } finally {
      releaseName([0], pointer);
    }
  }

  function acquire({ user, from }: Extract<KdcRequest, { do: 'acquire' }>): KdcReply {
    const get = (client: bigint | null) => {
      const minor: [number] = [0];
      const made: [bigint | null] = [null];
      const how = [0, null, initiate] as const;
      const major =
        'password' in from
          ? byPassword(minor, client, bytesOf(from.password), ...how, made, null, null)
          : fromStore(
              minor,
              client,
              ...how,
              { count: from.store.length, elements: from.store },
              made,
              null,
              null,
            );
      return reply(major, minor[0], { handle: made[0] });
    };
    return user === undefined ? get(null) : named(user, krb5Principal, get);
  }

  function establish(asking: Extract<KdcRequest, { do: 'establish' }>): KdcReply {
    const { target, binding, token } = asking;
    return named(target.name, target.isPrincipal ? krb5Principal : hostbasedService, (pointer) => {
      const minor: [number] = [0];
      const context: [bigint | null] = [asking.context];
      const made = {} as Bytes;
      const flags: [number] = [0];
      const channel =
        binding === undefined
          ? null
          : {
              initiatorType: 0,
              initiator: none,
              acceptorType: 0,
              acceptor: none,
              application: bytesOf(binding),
            };
      const given = token === undefined ? none : bytesOf(token);
      const major = initContext(
        ...[minor, asking.credential, context, pointer, krb5, asked, 0],
        ...[channel, given, null, made, flags, null],
      );
      const said = isError(major) ? {} : { token: new Uint8Array(take(made)) };
      return reply(major, minor[0], { handle: context[0], flags: flags[0], ...said });
    });
  }

  /** A cache in memory exists until somebody destroys it. */
  function destroy(cache: string): void {
    const kerberos = koffi.load(names.krb5);
    const call = (name: string, types: unknown[]) => of(kerberos, name, 'int', types);
    const context: [bigint | null] = [null];
    if (call('krb5_init_context', [handle])(context) !== 0) return;
    const found: [bigint | null] = [null];
    if (call('krb5_cc_resolve', ['void *', 'str', handle])(context[0], cache, found) === 0) {
      call('krb5_cc_destroy', ['void *', 'void *'])(context[0], found[0]);
    }
    of(kerberos, 'krb5_free_context', 'void', ['void *'])(context[0]);
  }

  function release({ credential, cache }: Extract<KdcRequest, { do: 'release' }>): KdcReply {
    const minor: [number] = [0];
    const major = releaseCredential(minor, [credential]);
    if (cache !== undefined) destroy(cache);
    return reply(major, minor[0]);
  }

  port.on('message', (request: KdcRequest) => {
    if (request.do === 'acquire') port.postMessage(acquire(request));
    else port.postMessage(request.do === 'establish' ? establish(request) : release(request));
  });
}
