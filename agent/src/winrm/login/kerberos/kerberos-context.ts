// Kerberos as the client of one connection, through the system's GSSAPI. Tickets are in memory, of this context alone: never
// in a cache that other processes, or other credentials of this agent, would use. Nothing is delegated.
import { randomUUID } from 'node:crypto';
import { protocolError, WinrmError } from '../../winrm-error.ts';
import type { SecurityContext } from '../security-context.ts';
import { continueNeeded, GssapiLibrary, type GssBuffer, type GssOid, isError } from './gssapi-library.ts';

export interface KerberosOptions {
  /** `name@REALM` or `REALM\name`; the realm is put in upper case. Left out with a cache of tickets: whose it is. */
  user?: string;
  /** Where the key comes from. Paths are on the agent's machine. */
  from: { password: string } | { keytab: string } | { cache: string };
  host: string;
  /** Principal of the host, `HTTP/name@REALM`; `HTTP@<host>` unless told, which the system's configuration makes one of. */
  principal?: string;
  /** What names the TLS connection that this goes over (`channelBindingOf`). */
  channelBinding?: Buffer;
}

const oid = (hex: string): GssOid => ({ length: hex.length / 2, elements: Buffer.from(hex, 'hex') });
const krb5 = oid('2a864886f712010202');
const krb5Principal = oid('2a864886f71201020201');
const hostbasedService = oid('2a864886f71201020104');
const initiate = 1;
/** Mutual, replay and sequence detection, confidentiality, integrity; not delegation, which is 1. */
const asked = 2 | 4 | 8 | 16 | 32;
const needed = 2 | 16 | 32;

/** Of a wrap token with AES (RFC 4121 4.2.6.2): a header of 16 bytes, then what is encrypted, then a checksum. */
const header = 16;
const rotation = 28;
const signature = header + rotation + 16;

export class KerberosContext implements SecurityContext {
  readonly scheme = 'Kerberos';
  readonly sealedType = 'application/HTTP-Kerberos-session-encrypted';
  readonly #library: GssapiLibrary;
  readonly #options: KerberosOptions;
  readonly #context: [bigint | null] = [null];
  #target: bigint | null = null;
  #credential: bigint | null = null;
  #complete = false;
  #disposed = false;
  #busy = false;

  private constructor(library: GssapiLibrary, options: KerberosOptions) {
    this.#library = library;
    this.#options = options;
  }

  /** @throws {WinrmError} where Kerberos can not be used, or the credential is no good. */
  static async create(options: KerberosOptions): Promise<KerberosContext> {
    const context = new KerberosContext(await GssapiLibrary.load(), options);
    try {
      await context.#prepare();
      return context;
    } catch (error) {
      context.dispose();
      throw error;
    }
  }

  get complete(): boolean {
    return this.#complete;
  }

  async step(received?: Buffer): Promise<Buffer | undefined> {
    if (this.#complete) return undefined;
    const { channelBinding } = this.#options;
    const minor: [number] = [0];
    const output = {} as GssBuffer;
    const flags: [number] = [0];
    const empty = { length: 0, value: null };
    const bindings =
      channelBinding === undefined
        ? null
        : {
            initiatorType: 0,
            initiator: empty,
            acceptorType: 0,
            acceptor: empty,
            application: bufferOf(channelBinding),
          };
    this.#busy = true;
    let major: number;
    try {
      major = await this.#library.call.initContext(
        minor,
        this.#credential,
        this.#context,
        this.#target,
        krb5,
        asked,
        0,
        bindings,
        received === undefined ? empty : bufferOf(received),
        null,
        output,
        flags,
        null,
      );
    } finally {
      this.#busy = false;
      if (this.#disposed) this.#free();
    }
    if (isError(major)) throw this.#failure(major, minor[0]);
    const token = this.#library.take(output);
    if (major !== continueNeeded) {
      if ((flags[0] & needed) !== needed)
        throw protocolError('it agrees to no Kerberos session that is sealed');
      this.#complete = true;
    }
    return token.length === 0 ? undefined : token;
  }

  seal(message: Buffer): { signature: Buffer; data: Buffer } {
    const minor: [number] = [0];
    const result = {} as GssBuffer;
    const state: [number] = [0];
    const major = this.#library.call.wrap(minor, this.#context[0], 1, 0, bufferOf(message), state, result);
    if (isError(major) || state[0] === 0) throw this.#failure(major, minor[0]);
    const token = this.#library.take(result);
    // Tokens of other kinds of encryption have another shape, and no host of today needs them.
    if (token[0] !== 5 || token[1] !== 4 || token.length !== signature + message.length) {
      throw new WinrmError({
        kind: 'auth_unavailable',
        message: 'The Kerberos session is not encrypted by AES.',
        advice: 'Allow AES for the accounts of user and host (msDS-SupportedEncryptionTypes).',
      });
    }
    return rotated(token);
  }

  unseal(signed: Buffer, data: Buffer): Buffer {
    const minor: [number] = [0];
    const result = {} as GssBuffer;
    const state: [number] = [0];
    const token = Buffer.concat([signed, data]);
    const major = this.#library.call.unwrap(minor, this.#context[0], bufferOf(token), result, state, [0]);
    // What came before or twice is a supplementary bit below the errors.
    if (major !== 0 || state[0] === 0) {
      if (!isError(major)) this.#library.take(result);
      throw protocolError('its reply was not sealed with the key of the session');
    }
    return this.#library.take(result);
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    // A thread may still be using what would be freed.
    if (!this.#busy) this.#free();
  }

  #free(): void {
    const { call } = this.#library;
    if (this.#context[0] !== null) call.deleteContext([0], this.#context, null);
    if (this.#credential !== null) call.releaseCredential([0], [this.#credential]);
    if (this.#target !== null) call.releaseName([0], [this.#target]);
    this.#context[0] = null;
    this.#credential = null;
    this.#target = null;
    this.#complete = false;
  }

  async #prepare(): Promise<void> {
    const { host, principal, from, user } = this.#options;
    this.#target =
      principal === undefined
        ? this.#name(`HTTP@${host}`, hostbasedService)
        : this.#name(principal, krb5Principal);
    const client = user === undefined ? null : this.#name(principalOf(user), krb5Principal);
    const minor: [number] = [0];
    const credential: [bigint | null] = [null];
    try {
      const major = await this.#acquire(from, client, minor, credential);
      if (isError(major)) throw this.#failure(major, minor[0]);
      this.#credential = credential[0];
    } finally {
      if (client !== null) this.#library.call.releaseName([0], [client]);
    }
  }

  #acquire(
    from: KerberosOptions['from'],
    client: bigint | null,
    minor: [number],
    credential: [bigint | null],
  ): Promise<number> {
    const { call } = this.#library;
    if ('password' in from) {
      const password = bufferOf(Buffer.from(from.password));
      return call.credentialByPassword(minor, client, password, 0, null, initiate, credential, null, null);
    }
    const elements =
      'cache' in from
        ? [{ key: 'ccache', value: from.cache }]
        : [
            { key: 'client_keytab', value: from.keytab },
            { key: 'ccache', value: `MEMORY:${randomUUID()}` },
          ];
    const store = { count: elements.length, elements };
    return call.credentialFromStore(minor, client, 0, null, initiate, store, credential, null, null);
  }

  #name(text: string, type: GssOid): bigint {
    const minor: [number] = [0];
    const name: [bigint | null] = [null];
    const major = this.#library.call.importName(minor, bufferOf(Buffer.from(text)), type, name);
    if (isError(major) || name[0] === null) throw this.#failure(major, minor[0]);
    return name[0];
  }

  #failure(major: number, minor: number): WinrmError {
    const text = this.#library.describe(major, minor);
    return new WinrmError({
      kind: 'auth_failed',
      message: `The login by Kerberos failed: ${text}.`,
      advice: adviceFor(text),
      notExecuted: true,
    });
  }
}

function bufferOf(bytes: Buffer): GssBuffer {
  return { length: bytes.length, value: bytes };
}

/** `CORP\ann` means `ann@CORP`; realms are in upper case, and a KDC finds them no other way. */
function principalOf(user: string): string {
  const slash = user.indexOf('\\');
  const at = user.lastIndexOf('@');
  if (slash !== -1) return `${user.slice(slash + 1)}@${user.slice(0, slash).toUpperCase()}`;
  return at === -1 ? user : `${user.slice(0, at)}@${user.slice(at + 1).toUpperCase()}`;
}

/**
 * From the order of gss_wrap to that of MS-WSMV, where the data comes last and alone: what is behind it goes before it, by a
 * rotation that the header tells of (RRC, RFC 4121 4.2.5).
 */
function rotated(token: Buffer): { signature: Buffer; data: Buffer } {
  const turned = Buffer.concat([
    token.subarray(0, header),
    token.subarray(token.length - rotation),
    token.subarray(header, token.length - rotation),
  ]);
  turned.writeUInt16BE(rotation, 6);
  return { signature: turned.subarray(0, signature), data: turned.subarray(signature) };
}

function adviceFor(text: string): string {
  if (/clock skew/i.test(text))
    return 'Set the clocks of the agent’s machine and of the domain controllers (NTP).';
  if (/cannot (find|contact|resolve)|realm/i.test(text)) {
    return 'Check the realm in the user’s name, and that the agent’s machine finds its domain controllers (DNS, /etc/krb5.conf).';
  }
  if (/server .*not found|unknown server|not found in kerberos database/i.test(text)) {
    return 'Check that the target’s host is the name that its service principal (HTTP/name or WSMAN/name) is registered for, or the user’s name.';
  }
  return 'Check user and password in the domain, and whether the account is locked or its password has expired.';
}
