// The system's libgssapi, by koffi: loaded when Kerberos is asked for, and only then. Calls that may ask a KDC run on a
// thread of their own.
import type koffiModule from 'koffi';
import type { LibraryHandle, TypeObject } from 'koffi';
import { WinrmError } from '../../winrm-error.ts';

type Koffi = typeof koffiModule;
type Types = Parameters<LibraryHandle['func']>[3];
type Pointer = bigint | null;
type Out<T> = [T];
export interface GssBuffer {
  length: number | bigint;
  value: Pointer | Buffer;
}
interface KeyValueSet {
  count: number;
  elements: { key: string; value: string }[];
}

/** Results of calls: a routine error is in bits 16 to 23, an error of the caller above. */
export const continueNeeded = 1;
export const isError = (major: number) => major >>> 16 !== 0;

const structs = {
  oid: { length: 'uint32_t', elements: 'void *' },
  buffer: { length: 'size_t', value: 'void *' },
} as const;

const libraries = [
  'libgssapi_krb5.so.2',
  'libgssapi_krb5.dylib',
  '/System/Library/Frameworks/GSS.framework/GSS',
];

export class GssapiLibrary {
  readonly #koffi: Koffi;
  readonly #functions: ReturnType<typeof declare>;

  private constructor(koffi: Koffi, library: LibraryHandle) {
    this.#koffi = koffi;
    this.#functions = declare(koffi, library);
  }

  static #loaded: Promise<GssapiLibrary> | undefined;

  /** @throws {WinrmError} of kind `auth_unavailable` where there is none. */
  static load(): Promise<GssapiLibrary> {
    GssapiLibrary.#loaded ??= GssapiLibrary.#load().catch((error) => {
      GssapiLibrary.#loaded = undefined;
      throw error;
    });
    return GssapiLibrary.#loaded;
  }

  static async #load(): Promise<GssapiLibrary> {
    let cause: unknown;
    try {
      const { default: koffi } = await import('koffi');
      for (const name of libraries) {
        try {
          return new GssapiLibrary(koffi, koffi.load(name));
        } catch (error) {
          cause = error;
        }
      }
    } catch (error) {
      cause = error;
    }
    throw new WinrmError({
      kind: 'auth_unavailable',
      message:
        'This agent can not use Kerberos: its machine has no GSSAPI library, or the package koffi is missing.',
      advice:
        'Install libgssapi-krb5-2 (Debian) or krb5-libs (Red Hat) there, and koffi beside the agent; or use NTLM.',
      cause,
    });
  }

  /** Bytes of a buffer that the library made, which is freed. */
  take(buffer: GssBuffer): Buffer {
    const length = Number(buffer.length);
    if (length === 0 || buffer.value === null) return Buffer.alloc(0);
    const bytes = Buffer.from(this.#koffi.view(buffer.value, length)).subarray();
    const copy = Buffer.from(bytes);
    this.#functions.releaseBuffer([0], buffer);
    return copy;
  }

  get call(): ReturnType<typeof declare> {
    return this.#functions;
  }

  /** What an error is, in the library's words. */
  describe(major: number, minor: number): string {
    const texts: string[] = [];
    for (const [status, type] of [
      [major, 1],
      [minor, 2],
    ] as const) {
      if (type === 2 && minor === 0) continue;
      const text = {} as GssBuffer;
      const result = this.#functions.displayStatus([0], status >>> 0, type, null, [0], text);
      if (!isError(result)) texts.push(this.take(text).toString('utf8'));
    }
    return texts.at(-1) ?? `status ${major}`;
  }
}

function declare(koffi: Koffi, library: LibraryHandle) {
  const oid = koffi.struct(structs.oid);
  const buffer = koffi.struct(structs.buffer);
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
  const given = (type: TypeObject) => koffi.pointer(type);
  const word = out('uint32_t');
  const handle = out('void *');
  const f = (name: string, types: Types) => library.func(name, status, types);
  /** The rest of the arguments, and the result as a promise. */
  const later =
    <A extends unknown[]>(call: ReturnType<typeof f>) =>
    (...args: A): Promise<number> =>
      new Promise((resolve, reject) => {
        call.async(...args, (error: Error | null, result: number) =>
          error ? reject(error) : resolve(result),
        );
      });
  return {
    importName: f('gss_import_name', [word, given(buffer), given(oid), handle]) as (
      minor: Out<number>,
      name: GssBuffer,
      type: GssOid,
      result: Out<Pointer>,
    ) => number,
    releaseName: f('gss_release_name', [word, inout('void *')]) as Release,
    releaseCredential: f('gss_release_cred', [word, inout('void *')]) as Release,
    releaseBuffer: f('gss_release_buffer', [word, inout(buffer)]) as (
      minor: Out<number>,
      buffer: GssBuffer,
    ) => number,
    deleteContext: f('gss_delete_sec_context', [word, inout('void *'), 'void *']) as (
      minor: Out<number>,
      context: Out<Pointer>,
      token: null,
    ) => number,
    displayStatus: f('gss_display_status', [
      word,
      status,
      'int',
      'void *',
      inout('uint32_t'),
      out(buffer),
    ]) as (
      minor: Out<number>,
      value: number,
      type: number,
      mechanism: null,
      context: Out<number>,
      text: GssBuffer,
    ) => number,
    credentialByPassword: later<
      [Out<number>, Pointer, GssBuffer, number, null, number, Out<Pointer>, null, null]
    >(
      f('gss_acquire_cred_with_password', [
        word,
        'void *',
        given(buffer),
        status,
        'void *',
        'int',
        handle,
        'void *',
        'void *',
      ]),
    ),
    credentialFromStore: later<
      [Out<number>, Pointer, number, null, number, KeyValueSet, Out<Pointer>, null, null]
    >(
      f('gss_acquire_cred_from', [
        word,
        'void *',
        status,
        'void *',
        'int',
        given(store),
        handle,
        'void *',
        'void *',
      ]),
    ),
    initContext: later<
      [
        Out<number>,
        Pointer,
        Out<Pointer>,
        Pointer,
        GssOid,
        number,
        number,
        object | null,
        GssBuffer,
        null,
        GssBuffer,
        Out<number>,
        null,
      ]
    >(
      f('gss_init_sec_context', [
        word,
        'void *',
        inout('void *'),
        'void *',
        given(oid),
        status,
        status,
        given(bindings),
        given(buffer),
        'void *',
        out(buffer),
        word,
        'void *',
      ]),
    ),
    wrap: f('gss_wrap', [word, 'void *', 'int', status, given(buffer), out('int'), out(buffer)]) as (
      minor: Out<number>,
      context: Pointer,
      confidential: number,
      quality: number,
      message: GssBuffer,
      state: Out<number>,
      result: GssBuffer,
    ) => number,
    unwrap: f('gss_unwrap', [word, 'void *', given(buffer), out(buffer), out('int'), word]) as (
      minor: Out<number>,
      context: Pointer,
      message: GssBuffer,
      result: GssBuffer,
      state: Out<number>,
      quality: Out<number>,
    ) => number,
  };
}

export interface GssOid {
  length: number;
  elements: Buffer;
}
type Release = (minor: Out<number>, handle: Out<Pointer>) => number;
