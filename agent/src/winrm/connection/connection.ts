// A connection to a WinRM listener: one socket, one security context, one request at a time. It authenticates when it
// has to: at first, and again when the host has forgotten the session or the socket is gone.
import type { Socket } from 'node:net';
import { channelBindingOf } from '../login/channel-binding.ts';
import type { KerberosTickets } from '../login/kerberos/kerberos-tickets.ts';
import { type Login, type Place, refuseInClear, securityContextFor } from '../login/login.ts';
import type { SecurityContext } from '../login/security-context.ts';
import { protocolError, WinrmError } from '../winrm-error.ts';
import { certificateOf, type DialOptions, dial, type TlsOptions } from './dial.ts';
import { readSealed, sealedContentType, writeSealed } from './framing.ts';
import { exchange, type HttpReply, OneSocketAgent } from './http-exchange.ts';
import { authenticationError, certificateNotTaken, notAllowed, statusError } from './status-errors.ts';

export interface ConnectionOptions {
  host: string;
  port: number;
  login: Login;
  /** Undefined for HTTP: then every message is sealed. */
  tls?: TlsOptions;
  /** 10 s by default. */
  connectTimeoutMs?: number;
  /** Returns the host's addresses in the order to try; rejects for those that may not be dialed. */
  addressesOf(host: string): Promise<readonly string[]>;
  /** Largest message in either direction; by default 153,600, which every Windows accepts. */
  maxEnvelopeBytes?: number;
  /** Kerberos tickets of other connections with the same credential. */
  tickets?: KerberosTickets;
  /** Replaces the login's own, for tests that break it. */
  securityContext?: typeof securityContextFor;
  /** Replaces the clock. */
  monotonicMs?: () => number;
}

export interface RequestOptions {
  /** 90 s by default. */
  timeoutMs?: number;
  /** The request must not be executed twice: once sent, it is not sent again, whatever the reply. */
  once?: boolean;
  signal?: AbortSignal | undefined;
}

export const defaultMaxEnvelopeBytes = 153_600;
const defaultTimeoutMs = 90_000;
const path = '/wsman';
const soapType = 'application/soap+xml;charset=UTF-8';
/**
 * Windows drops an idle session after about two minutes; a message on a session that is just being dropped would be
 * ambiguous.
 */
const freshMs = 60_000;
const maxSteps = 8;

interface Session {
  socket: Socket;
  security: SecurityContext;
}

export class WinrmConnection {
  readonly options: ConnectionOptions;
  /** The host may accept more, and says how much: see `learnEnvelopeSize`. */
  maxEnvelopeBytes: number;
  /** Whether the host loads the user's profile for a shell, as far as is known. */
  loadsProfile = true;
  readonly #agent: OneSocketAgent;
  readonly #monotonicMs: () => number;
  #socket: Socket | undefined;
  /** Dialed, and not used yet. */
  #waiting: Socket | undefined;
  #session: Session | undefined;
  #usedAtMs = 0;
  /** The signal of the current request. */
  #signal: AbortSignal | undefined;
  #queue: Promise<unknown> = Promise.resolve();
  #closed = false;
  /** Whether the host has replied to anything yet. */
  #isKnown = false;
  /** How many times it has authenticated. */
  handshakes = 0;

  constructor(options: ConnectionOptions) {
    this.options = options;
    this.maxEnvelopeBytes = options.maxEnvelopeBytes ?? defaultMaxEnvelopeBytes;
    this.#monotonicMs = options.monotonicMs ?? (() => performance.now());
    this.#agent = new OneSocketAgent(() => this.#take());
    refuseInClear(options.login, options.tls !== undefined);
  }

  /** The address that requests carry. */
  get url(): string {
    const { host, port, tls } = this.options;
    const name = host.includes(':') ? `[${host.replaceAll(/[[\]]/g, '')}]` : host;
    return `${tls === undefined ? 'http' : 'https'}://${name}:${port}${path}`;
  }

  /**
   * Sends one message and returns the reply, whatever it says: a fault is a reply, too. If the host asks for a login,
   * the message is sent again after logging in, unless it is marked `once`: over HTTP, anybody on the way may have sent
   * that reply after the host has acted.
   *
   * @throws {WinrmError} `notExecuted` if the message was not sent; never for a reply to a message that is marked
   * `once`.
   */
  request(envelope: string, options: RequestOptions = {}): Promise<string> {
    const result = this.#queue.then(() => this.#request(envelope, options));
    this.#queue = result.catch(() => undefined);
    return result;
  }

  /** Whether the next message needs no login first, as far as can be told from here. */
  get isWarm(): boolean {
    const socket = this.#session?.socket ?? this.#socket;
    return !this.#closed && socket?.destroyed === false && !this.#isStale;
  }

  close(): void {
    this.#closed = true;
    this.#drop();
    this.#agent.destroy();
  }

  async #request(envelope: string, options: RequestOptions): Promise<string> {
    if (this.#closed) throw new Error('The connection is closed');
    const message = Buffer.from(envelope);
    if (message.length > this.maxEnvelopeBytes) {
      throw new WinrmError({
        kind: 'too_large',
        message: `A request of ${message.length} bytes is larger than the ${this.maxEnvelopeBytes} that the host accepts.`,
        advice: 'Give the command less environment, or shorter values.',
        notExecuted: true,
      });
    }
    this.#signal = options.signal;
    // Also keeps a `once` message from meeting a session that the host has forgotten.
    if (this.#isStale) this.#drop();
    try {
      return await this.#send(message, options);
    } catch (error) {
      // The session's state is unknown now, since sealing counts messages.
      this.#drop();
      throw error;
    } finally {
      this.#usedAtMs = this.#monotonicMs();
    }
  }

  async #send(message: Buffer, options: RequestOptions): Promise<string> {
    for (let tries = 1; ; tries += 1) {
      const security = await this.#authenticated(options).catch((error: unknown) => {
        throw error instanceof WinrmError ? error.as({ notExecuted: true }) : error;
      });
      let reply: HttpReply;
      try {
        reply = await this.#post(security, message, options);
        this.#isKnown = true;
      } catch (error) {
        const isLost = error instanceof WinrmError && error.kind === 'ambiguous';
        if (isLost && this.options.login.method === 'certificate' && !this.#isKnown) {
          throw certificateNotTaken(this.#place, error);
        }
        if (!(error instanceof SessionGone) || tries === 2) throw error;
        this.#drop();
        continue;
      }
      if (options.once) return this.#readOnce(reply, security);
      if (reply.status !== 401) return this.#read(reply, security);
      if (security === undefined) throw authenticationError(this.#place, reply);
      if (tries === 2) throw notAllowed(this.#place);
      this.#drop();
    }
  }

  #readOnce(reply: HttpReply, security: SecurityContext | undefined): string {
    if (reply.status === 401 && security !== undefined) throw loginWanted(this.options.host);
    try {
      if (reply.status === 401) throw authenticationError(this.#place, reply);
      return this.#read(reply, security);
    } catch (error) {
      throw error instanceof WinrmError ? error.as({ notExecuted: false }) : error;
    }
  }

  #post(security: SecurityContext | undefined, message: Buffer, options: RequestOptions): Promise<HttpReply> {
    const { login, tls } = this.options;
    if (security !== undefined && tls === undefined) {
      const sealed = security.seal(message);
      const body = writeSealed({ ...sealed, plainLength: message.length }, security.sealedType);
      return this.#exchange({ 'Content-Type': sealedContentType(security.sealedType) }, body, options);
    }
    const headers: Record<string, string> = { 'Content-Type': soapType };
    if (login.method === 'basic') {
      headers.Authorization = `Basic ${Buffer.from(`${login.user}:${login.password}`).toString('base64')}`;
    }
    if (login.method === 'certificate') {
      headers.Authorization = 'http://schemas.dmtf.org/wbem/wsman/1/wsman/secprofile/https/mutual';
    }
    return this.#exchange(headers, message, options);
  }

  #read(reply: HttpReply, security: SecurityContext | undefined): string {
    const type = reply.headers['content-type'] ?? '';
    let text: string;
    if (security !== undefined && this.options.tls === undefined) {
      if (!/^multipart\/encrypted\b/i.test(type)) {
        throw statusError(this.#place, reply) ?? protocolError('its reply was not sealed');
      }
      const sealed = readSealed(reply.body, security.sealedType);
      const plain = security.unseal(sealed.signature, sealed.data);
      if (plain.length !== sealed.plainLength)
        throw protocolError('the sealed reply is not as long as it says');
      text = plain.toString('utf8');
    } else {
      text = reply.body.toString('utf8');
      if (!/^application\/soap\+xml\b/i.test(type)) {
        throw (
          statusError(this.#place, reply) ?? protocolError(`its reply is ${type.slice(0, 100) || 'untyped'}`)
        );
      }
    }
    // A fault is SOAP and comes with status 400 or 500.
    if (reply.status !== 200 && reply.status !== 400 && reply.status !== 500) {
      throw statusError(this.#place, reply) ?? protocolError(`it answered with HTTP ${reply.status}`);
    }
    return text;
  }

  /** Returns the context of this connection's socket; undefined if each request carries its own authentication. */
  async #authenticated(options: RequestOptions): Promise<SecurityContext | undefined> {
    const { login } = this.options;
    if (login.method === 'basic' || login.method === 'certificate') return undefined;
    if (this.#session !== undefined && !this.#session.socket.destroyed) return this.#session.security;
    this.#drop();
    // Dials before the first request, because the channel binding is made of this socket's certificate.
    this.#waiting = await this.#dial();
    const certificate = certificateOf(this.#waiting);
    const makeContext = this.options.securityContext ?? securityContextFor;
    const security = await makeContext(
      login,
      this.#place,
      certificate === undefined ? undefined : channelBindingOf(certificate),
      { tickets: this.options.tickets, signal: options.signal },
    );
    try {
      this.#session = { security, socket: await this.#handshake(security, options) };
      this.handshakes += 1;
      return security;
    } catch (error) {
      security.dispose();
      throw error;
    }
  }

  /**
   * Authenticates with empty requests: nothing is sent before the host knows the sender. Returns the authenticated
   * socket.
   */
  async #handshake(security: SecurityContext, options: RequestOptions): Promise<Socket> {
    let token = await security.step(undefined, options.signal);
    let socket: Socket | undefined;
    for (let steps = 0; steps < maxSteps && token !== undefined; steps += 1) {
      const headers = {
        'Content-Type': soapType,
        Authorization: `${security.scheme} ${token.toString('base64')}`,
      };
      const reply = await this.#exchange(headers, Buffer.alloc(0), options);
      if (socket !== undefined && reply.socket !== socket) {
        throw protocolError('it closed the connection while authenticating the agent');
      }
      socket = reply.socket;
      const received = tokenIn(reply, security.scheme);
      if (reply.status === 401 && received === undefined) throw authenticationError(this.#place, reply);
      if (reply.status !== 401 && reply.status !== 200) {
        throw statusError(this.#place, reply) ?? protocolError(`it answered with HTTP ${reply.status}`);
      }
      token = await security.step(received, options.signal);
      if (reply.status === 200 && token === undefined && security.complete) return socket;
    }
    throw protocolError('the authentication did not end');
  }

  #exchange(headers: Record<string, string>, body: Buffer, options: RequestOptions): Promise<HttpReply> {
    const { host, port } = this.options;
    return exchange({
      agent: this.#agent,
      host,
      port,
      path,
      headers: { 'User-Agent': 'OpsConductor', ...headers },
      body,
      timeoutMs: options.timeoutMs ?? defaultTimeoutMs,
      // Sealing adds little, and a host may exceed the requested size somewhat.
      maxReplyBytes: 4 * this.maxEnvelopeBytes,
      signal: options.signal,
    });
  }

  async #take(): Promise<Socket> {
    // A message that is sealed for one socket is useless on another.
    if (this.#session !== undefined) throw new SessionGone(this.options.host);
    const waiting = this.#waiting;
    this.#waiting = undefined;
    return waiting === undefined || waiting.destroyed ? this.#dial() : waiting;
  }

  async #dial(): Promise<Socket> {
    const { host, port, tls, login, addressesOf, connectTimeoutMs = 10_000 } = this.options;
    const { certificate, privateKey, passphrase } =
      login.method === 'certificate' ? login : ({} as TlsOptions);
    const dialled: DialOptions = {
      host,
      port,
      tls:
        tls === undefined || certificate === undefined
          ? tls
          : {
              ...tls,
              certificate,
              privateKey: privateKey as string,
              ...(passphrase === undefined ? {} : { passphrase }),
            },
      connectTimeoutMs,
      // Regardless of how many addresses a name has.
      totalTimeoutMs: Math.max(connectTimeoutMs, 30_000),
      addressesOf,
      signal: this.#signal,
    };
    const socket = await dial(dialled);
    if (this.#closed) socket.destroy();
    this.#socket = socket;
    return socket;
  }

  #drop(): void {
    this.#session?.security.dispose();
    this.#session = undefined;
    this.#socket?.destroy();
    this.#socket = undefined;
    this.#waiting = undefined;
  }

  /**
   * Whether only the host can have written its replies: they are sealed, or came over TLS with a checked certificate.
   */
  get areRepliesProven(): boolean {
    const { tls } = this.options;
    return tls === undefined || tls.insecure !== true;
  }

  get #isStale(): boolean {
    return this.#monotonicMs() - this.#usedAtMs > freshMs;
  }

  get #place(): Place {
    const { host, port, tls, login } = this.options;
    return { host, port, isTls: tls !== undefined, method: login.method };
  }
}

/** The socket of a session was closed before a message was written to it. */
class SessionGone extends WinrmError {
  constructor(host: string) {
    super({
      kind: 'unreachable',
      message: `${host} closed the connection before a request was sent.`,
      advice: 'Check that the WinRM service runs on the host.',
      notExecuted: true,
    });
  }
}

function loginWanted(host: string): WinrmError {
  return new WinrmError({
    kind: 'ambiguous',
    message: `A request to ${host} on an open session was answered with a demand to log in (HTTP 401), which may not come from the host.`,
    advice: 'Check on the host what became of the request before you send it again.',
  });
}

function tokenIn({ headers }: HttpReply, scheme: string): Buffer | undefined {
  const found = new RegExp(`(?:^|,\\s*)${scheme}\\s+([A-Za-z0-9+/]+=*)`, 'i').exec(
    headers['www-authenticate'] ?? '',
  );
  return found?.[1] === undefined ? undefined : Buffer.from(found[1], 'base64');
}
