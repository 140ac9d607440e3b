// The system's libgssapi, called through koffi and loaded only when Kerberos is used. Calls that may ask a KDC are made
// by separate threads; sealing is done here.
import type koffiModule from 'koffi';
import type { LibraryHandle, TypeObject } from 'koffi';
import { WinrmError } from '../../winrm-error.ts';
import { KdcThreads } from './kdc-threads.ts';

type Koffi = typeof koffiModule;
type Types = Parameters<LibraryHandle['func']>[3];
type Pointer = bigint | null;
type Out<T> = [T];
export interface GssBuffer {
  length: number | bigint;
  value: Pointer | Buffer;
}

/** Results of calls: a routine error is in bits 16 to 23, an error of the caller above them. */
export const continueNeeded = 1;
export const isError = (major: number) => major >>> 16 !== 0;

const libraries = [
  'libgssapi_krb5.so.2',
  'libgssapi_krb5.dylib',
  '/System/Library/Frameworks/GSS.framework/GSS',
];
/** The library that the first one builds on. */
const krb5 = 'libkrb5.so.3';

export class GssapiLibrary {
  readonly koffi: Koffi;
  readonly threads: KdcThreads;
  readonly #functions: ReturnType<typeof declare>;

  private constructor(koffi: Koffi, gssapi: string) {
    this.koffi = koffi;
    this.#functions = declare(koffi, koffi.load(gssapi));
    this.threads = new KdcThreads({ gssapi, krb5 });
  }

  static #loaded: Promise<GssapiLibrary> | undefined;

  /** @throws {WinrmError} of kind `auth_unavailable` if there is no library. */
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
          return new GssapiLibrary(koffi, name);
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
        'Install libgssapi-krb5-2 (Debian) or krb5-libs (Red Hat) there, and koffi next to the agent; or use NTLM.',
      cause,
    });
  }

  /** Returns the bytes of a buffer that the library made, and frees the buffer. */
  take(buffer: GssBuffer): Buffer {
    const length = Number(buffer.length);
    if (length === 0 || buffer.value === null) return Buffer.alloc(0);
    const bytes = Buffer.from(this.koffi.view(buffer.value, length)).subarray();
    const copy = Buffer.from(bytes);
    this.#functions.releaseBuffer([0], buffer);
    return copy;
  }

  get call(): ReturnType<typeof declare> {
    return this.#functions;
  }
}

function declare(koffi: Koffi, library: LibraryHandle) {
  const buffer = koffi.struct({ length: 'size_t', value: 'void *' });
  const status = 'uint32_t';
  const out = (type: TypeObject | string) => koffi.out(koffi.pointer(type as TypeObject));
  const inout = (type: TypeObject | string) => koffi.inout(koffi.pointer(type as TypeObject));
  const given = koffi.pointer(buffer);
  const word = out('uint32_t');
  const f = (name: string, types: Types) => library.func(name, status, types);
  return {
    releaseBuffer: f('gss_release_buffer', [word, inout(buffer)]) as (
      minor: Out<number>,
      buffer: GssBuffer,
    ) => number,
    deleteContext: f('gss_delete_sec_context', [word, inout('void *'), 'void *']) as (
      minor: Out<number>,
      context: Out<Pointer>,
      token: null,
    ) => number,
    wrap: f('gss_wrap', [word, 'void *', 'int', status, given, out('int'), out(buffer)]) as (
      minor: Out<number>,
      context: Pointer,
      confidential: number,
      quality: number,
      message: GssBuffer,
      state: Out<number>,
      result: GssBuffer,
    ) => number,
    unwrap: f('gss_unwrap', [word, 'void *', given, out(buffer), out('int'), word]) as (
      minor: Out<number>,
      context: Pointer,
      message: GssBuffer,
      result: GssBuffer,
      state: Out<number>,
      quality: Out<number>,
    ) => number,
  };
}
