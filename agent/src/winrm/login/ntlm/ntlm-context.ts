// The client's side of NTLMv2, with signing, sealing and channel binding (MS-NLMP 3.1.5).
import { createHash, randomBytes } from 'node:crypto';
import { protocolError, WinrmError } from '../../winrm-error.ts';
import type { SecurityContext } from '../security-context.ts';
import { hmacMd5, ntlmv2Response, responseKey } from './keys.ts';
import {
  type AttributePair,
  authenticateMessage,
  type Challenge,
  flags,
  micOffset,
  NtlmMessageError,
  negotiateMessage,
  pairIds,
  readChallenge,
  writePairs,
} from './messages.ts';
import { Rc4 } from './rc4.ts';
import { NtlmSealer } from './sealer.ts';

export interface NtlmOptions {
  /** `DOMAIN\user`, `user@domain` or the name of a local user. */
  user: string;
  password: string;
  /** The host's name as it is dialed: the target of the authentication. */
  host: string;
  /** Identifies the TLS connection that this goes over (`channelBindingOf`). */
  channelBinding?: Buffer;
  /** Replaces random bytes and the clock, for test vectors. */
  random?: (bytes: number) => Buffer;
  now?: () => Date;
}

const asked =
  flags.unicode |
  flags.requestTarget |
  flags.sign |
  flags.seal |
  flags.ntlm |
  flags.alwaysSign |
  flags.extendedSessionSecurity |
  flags.version |
  flags.key128 |
  flags.keyExchange |
  flags.key56;
/** Without these flags a session could be read or changed in transit. */
const needed = flags.unicode | flags.sign | flags.seal | flags.extendedSessionSecurity | flags.key128;

/** A FILETIME (MS-NLMP 2.2.2.7). */
const timeBytes = 8;

export class NtlmContext implements SecurityContext {
  readonly scheme = 'Negotiate';
  readonly sealedType = 'application/HTTP-SPNEGO-session-encrypted';
  readonly #options: NtlmOptions;
  #negotiate: Buffer | undefined;
  #session: { client: NtlmSealer; server: NtlmSealer } | undefined;

  constructor(options: NtlmOptions) {
    this.#options = options;
  }

  get complete(): boolean {
    return this.#session !== undefined;
  }

  async step(received?: Buffer): Promise<Buffer | undefined> {
    if (this.#negotiate === undefined) {
      this.#negotiate = negotiateMessage(asked);
      return this.#negotiate;
    }
    if (received === undefined || this.#session !== undefined) return undefined;
    return this.#authenticate(this.#negotiate, received);
  }

  seal(message: Buffer): { signature: Buffer; data: Buffer } {
    if (this.#session === undefined) throw new Error('The session has no keys yet');
    return this.#session.client.seal(message);
  }

  unseal(signature: Buffer, data: Buffer): Buffer {
    const message = this.#session?.server.unseal(signature, data);
    if (message === undefined) throw protocolError('its reply was not sealed with the key of the session');
    return message;
  }

  dispose(): void {
    this.#session = undefined;
  }

  #authenticate(negotiate: Buffer, received: Buffer): Buffer {
    const { user: name, password, random = randomBytes } = this.#options;
    const challenge = this.#readChallenge(received);
    const agreed = asked & challenge.flags;
    const { user, domain } = readUser(name);
    const clientChallenge = random(8);
    const { response, sessionBaseKey } = ntlmv2Response({
      key: responseKey(user, domain, password),
      serverChallenge: challenge.serverChallenge,
      clientChallenge,
      timestamp: timeOf(challenge) ?? fileTime(this.#options.now?.() ?? new Date()),
      pairs: writePairs(this.#pairs(challenge.targetInfo)),
    });
    const exchanges = (agreed & flags.keyExchange) !== 0;
    const sessionKey = exchanges ? random(16) : sessionBaseKey;
    const message = authenticateMessage({
      flags: agreed | flags.targetInfo,
      // NTLMv2 sends no LM response (MS-NLMP 3.1.5.1.2).
      lmResponse: Buffer.alloc(24),
      ntResponse: response,
      domain,
      user,
      workstation: '',
      encryptedSessionKey: exchanges ? new Rc4(sessionBaseKey).apply(sessionKey) : Buffer.alloc(0),
    });
    hmacMd5(sessionKey, negotiate, received, message).copy(message, micOffset);
    this.#session = {
      client: new NtlmSealer(sessionKey, 'client-to-server', agreed),
      server: new NtlmSealer(sessionKey, 'server-to-client', agreed),
    };
    return message;
  }

  #readChallenge(received: Buffer): Challenge {
    let challenge: Challenge;
    try {
      challenge = readChallenge(received);
    } catch (error) {
      if (error instanceof NtlmMessageError) throw protocolError(error.message, error);
      throw error;
    }
    // The time goes in front of the pairs. A longer one could hold pairs that another host, to which this one relays the
    // response, would read instead of ours: another channel, and no integrity code.
    const time = timeOf(challenge);
    if (time !== undefined && time.length !== timeBytes)
      throw protocolError('the time in its NTLM challenge is not one');
    if ((challenge.flags & needed) !== needed) {
      throw new WinrmError({
        kind: 'auth_unavailable',
        message: 'The host agrees to no NTLM session that is signed and sealed with 128 bits.',
        advice: 'Allow 128-bit encryption and NTLMv2 session security in the host’s security policy.',
      });
    }
    return challenge;
  }

  /** The host's own pairs plus ours: that there is an integrity code, which channel this is, and which host we mean. */
  #pairs(theirs: readonly AttributePair[]): AttributePair[] {
    const { host, channelBinding } = this.#options;
    const bound = channelBinding === undefined ? Buffer.alloc(16) : hashOfBinding(channelBinding);
    const ours: AttributePair[] = [
      { id: pairIds.flags, value: Buffer.from([2, 0, 0, 0]) },
      { id: pairIds.channelBindings, value: bound },
      { id: pairIds.targetName, value: Buffer.from(`HTTP/${host}`, 'utf16le') },
    ];
    return [...theirs.filter(({ id }) => ours.every((pair) => pair.id !== id)), ...ours];
  }
}

function timeOf({ targetInfo }: Challenge): Buffer | undefined {
  return targetInfo.find(({ id }) => id === pairIds.timestamp)?.value;
}

/** `.\name` means a user of the host, like a name without a domain. */
export function readUser(name: string): { user: string; domain: string } {
  const slash = name.indexOf('\\');
  if (slash === -1) return { user: name, domain: '' };
  const domain = name.slice(0, slash);
  return { user: name.slice(slash + 1), domain: domain === '.' ? '' : domain };
}

/** MD5 of a `gss_channel_bindings_struct` (RFC 2744) without addresses, as MS-NLMP 2.2.2.1 defines it. */
function hashOfBinding(data: Buffer): Buffer {
  const head = Buffer.alloc(20);
  head.writeUInt32LE(data.length, 16);
  return createHash('md5').update(head).update(data).digest();
}

/** Units of 100 ns since 1601. */
function fileTime(date: Date): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE((BigInt(date.getTime()) + 11_644_473_600_000n) * 10_000n);
  return bytes;
}
