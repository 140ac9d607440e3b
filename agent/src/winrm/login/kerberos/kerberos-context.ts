// Kerberos as the client of one connection, through the system's GSSAPI. Tickets are in memory and belong to one
// credential: they are never in a cache that other processes or other credentials of this agent would use. Nothing is
// delegated.
import { abortable } from '../../../timing/abortable.ts';
import { protocolError, WinrmError } from '../../winrm-error.ts';
import type { SecurityContext } from '../security-context.ts';
import { givenUp, loginFailure } from './gss-failure.ts';
import { continueNeeded, GssapiLibrary, type GssBuffer, isError } from './gssapi-library.ts';
import { type KerberosClient, KerberosCredential } from './kerberos-credential.ts';
import type { KerberosTickets } from './kerberos-tickets.ts';
import type { KdcReply } from './serve-kdc.ts';

export interface KerberosOptions extends KerberosClient {
  host: string;
  /**
   * Principal of the host, `HTTP/name@REALM`; by default `HTTP@<host>`, from which the system's configuration derives
   * one.
   */
  principal?: string;
  /** Identifies the TLS connection that this goes over (`channelBindingOf`). */
  channelBinding?: Buffer;
  /** Store of tickets that others have obtained as the same user; without it new ones are requested. */
  tickets?: KerberosTickets;
}

/** Mutual authentication, confidentiality, integrity. */
const needed = 2 | 16 | 32;

/** A wrap token with AES (RFC 4121 4.2.6.2): a header of 16 bytes, then the encrypted part, then a checksum. */
const header = 16;
const rotation = 28;
const signature = header + rotation + 16;

export class KerberosContext implements SecurityContext {
  readonly scheme = 'Kerberos';
  readonly sealedType = 'application/HTTP-Kerberos-session-encrypted';
  readonly #library: GssapiLibrary;
  readonly #options: KerberosOptions;
  readonly #credential: KerberosCredential;
  readonly #context: [bigint | null] = [null];
  #complete = false;
  #disposed = false;
  #busy = false;

  private constructor(library: GssapiLibrary, options: KerberosOptions, credential: KerberosCredential) {
    this.#library = library;
    this.#options = options;
    this.#credential = credential;
  }

  /** @throws {WinrmError} if Kerberos can not be used, or the credential can not be used; the signal's reason. */
  static async create(options: KerberosOptions, signal?: AbortSignal): Promise<KerberosContext> {
    const library = await GssapiLibrary.load();
    const { tickets } = options;
    const credential = await (tickets === undefined
      ? KerberosCredential.acquire(library, options, signal)
      : tickets.take(library, options, signal));
    return new KerberosContext(library, options, credential);
  }

  get complete(): boolean {
    return this.#complete;
  }

  async step(received?: Buffer, signal?: AbortSignal): Promise<Buffer | undefined> {
    if (this.#complete) return undefined;
    this.#busy = true;
    const asking = this.#establish(received, signal).finally(() => {
      this.#busy = false;
      if (this.#disposed) this.#free();
    });
    const { major, problem, token, flags } = await abortable(asking, signal).catch((error: unknown) => {
      throw givenUp(error, signal, this.#credential.realm);
    });
    if (isError(major)) {
      // The credential's tickets may be out of date: the next login requests new ones.
      this.#options.tickets?.forget(this.#credential);
      throw loginFailure(problem);
    }
    if (major !== continueNeeded) {
      if ((flags & needed) !== needed) throw protocolError('it agrees to no Kerberos session that is sealed');
      this.#complete = true;
    }
    return token.length === 0 ? undefined : Buffer.from(token);
  }

  async #establish(received: Buffer | undefined, signal: AbortSignal | undefined): Promise<KdcReply> {
    const { host, principal, channelBinding } = this.#options;
    const reply = await this.#library.threads.ask(
      {
        do: 'establish',
        credential: this.#credential.handle,
        context: this.#context[0],
        target:
          principal === undefined
            ? { name: `HTTP@${host}`, isPrincipal: false }
            : { name: principal, isPrincipal: true },
        binding: channelBinding,
        token: received,
      },
      this.#credential.realm,
      signal,
    );
    this.#context[0] = reply.handle;
    return reply;
  }

  seal(message: Buffer): { signature: Buffer; data: Buffer } {
    const result = {} as GssBuffer;
    const state: [number] = [0];
    const major = this.#library.call.wrap([0], this.#context[0], 1, 0, bufferOf(message), state, result);
    if (isError(major) || state[0] === 0) throw loginFailure('the session seals nothing any more');
    const token = this.#library.take(result);
    // Tokens of other encryption types have another shape, and no current host needs them.
    if (token[0] !== 5 || token[1] !== 4 || token.length !== signature + message.length) {
      throw new WinrmError({
        kind: 'auth_unavailable',
        message: 'The Kerberos session is not encrypted with AES.',
        advice: 'Allow AES for the accounts of user and host (msDS-SupportedEncryptionTypes).',
      });
    }
    return rotated(token);
  }

  unseal(signed: Buffer, data: Buffer): Buffer {
    const result = {} as GssBuffer;
    const state: [number] = [0];
    const token = Buffer.concat([signed, data]);
    const major = this.#library.call.unwrap([0], this.#context[0], bufferOf(token), result, state, [0]);
    // Replays and old tokens are reported as a supplementary bit below the errors.
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
    if (this.#context[0] !== null) this.#library.call.deleteContext([0], this.#context, null);
    this.#context[0] = null;
    this.#complete = false;
    this.#credential.release();
  }
}

function bufferOf(bytes: Buffer): GssBuffer {
  return { length: bytes.length, value: bytes };
}

/**
 * Reorders a token from gss_wrap's order to that of MS-WSMV, in which the data comes last and alone. What follows the
 * data is moved before it, by a rotation that the header records (RRC, RFC 4121 4.2.5).
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
