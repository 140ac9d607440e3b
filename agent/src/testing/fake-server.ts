// A server that speaks the agent protocol over real WebSockets and does only what a test tells it to. It checks every
// message of the agent against the published schema.
import { randomBytes } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import {
  type AgentMessage,
  type AgentMessageOf,
  agentToServer,
  decodeFrame,
  type JournalAttempt,
  limits,
  type OutputFrame,
  type ServerMessage,
  type ServerMessageOf,
  serverCapabilities,
  stepReasons,
  subprotocol,
} from '@opsconductor/protocol';
import {
  decodeBase64,
  generateSigningKeyPair,
  handshakeTranscript,
  type KeyPair,
  signGeneration,
  signHandshake,
  verifyHandshake,
} from '@opsconductor/protocol/sealing';
import { Check } from 'typebox/value';
import { type WebSocket, WebSocketServer } from 'ws';
import { Mailbox } from './mailbox.ts';

export const installationId = 'installation-1';

export interface WelcomeOptions {
  /** How often the challenge is sent; default once. */
  challenges?: number;
  heartbeatIntervalMs?: number;
  leaseTtlMs?: number;
  /** Signs the transcript instead of the server's key, which the agent has pinned. */
  transcriptKey?: KeyPair;
  /** Signs the generation instead of the server's key. */
  generationKey?: KeyPair;
  /** Behaves like a server of an earlier version that knows nothing new. */
  isOlder?: boolean;
}

export interface ResumeVerdict {
  step: number;
  epoch: number;
  verdict: ServerMessageOf<'resumed'>['attempts'][number]['verdict'];
  ackedSeq: number;
}

export class FakeServer {
  readonly key: KeyPair;
  readonly #http: Server;
  readonly #sockets: WebSocketServer;
  readonly #connections = new Mailbox<FakeConnection>();
  generation = 0;
  /** By how much the clock that it tells agents is ahead of the one of this machine; undefined: it tells none. */
  clockAheadMs: number | undefined;

  private constructor(key: KeyPair, http: Server) {
    this.key = key;
    this.#http = http;
    this.#sockets = new WebSocketServer({
      server: http,
      path: '/api/v1/agent/connect',
      perMessageDeflate: false,
      maxPayload: limits.maxControlFrameBytes,
      handleProtocols: (offered) => (offered.has(subprotocol) ? subprotocol : false),
    });
    this.#sockets.on('headers', (headers) => {
      if (this.clockAheadMs !== undefined) {
        headers.push(`Date: ${new Date(Date.now() + this.clockAheadMs).toUTCString()}`);
      }
    });
    this.#sockets.on('connection', (socket, request) => {
      this.#connections.put(new FakeConnection(this, socket, request.headers));
    });
  }

  static async start(): Promise<FakeServer> {
    const http = createServer((_, response) => response.writeHead(404).end());
    await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
    return new FakeServer(await generateSigningKeyPair(), http);
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#http.address() as AddressInfo).port}`;
  }

  /** The next connection that an agent opens. */
  nextConnection(): Promise<FakeConnection> {
    return this.#connections.take(() => true);
  }

  /** Accepts the next connection up to `resumed`, with a verdict on each attempt that the agent lists. */
  async nextSession(
    options: WelcomeOptions & { verdict?: (attempt: JournalAttempt) => ResumeVerdict } = {},
  ): Promise<{ connection: FakeConnection; resume: AgentMessageOf<'resume'> }> {
    const connection = await this.nextConnection();
    await connection.welcome(options);
    const resume = await connection.next('resume');
    const verdict =
      options.verdict ?? (({ step, epoch }) => ({ step, epoch, verdict: 'continue', ackedSeq: 0 }) as const);
    connection.send({ type: 'resumed', attempts: resume.attempts.map(verdict) });
    return { connection, resume };
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets.clients) socket.terminate();
    this.#sockets.close();
    this.#http.closeAllConnections();
    await new Promise((resolve) => this.#http.close(resolve));
  }
}

export class FakeConnection {
  readonly headers: Record<string, unknown>;
  readonly #server: FakeServer;
  readonly #socket: WebSocket;
  readonly #messages = new Mailbox<AgentMessage>();
  readonly #frames = new Mailbox<OutputFrame>();
  /** Close code and reason, once the agent or a test has closed it. */
  readonly closed: Promise<{ code: number; reason: string }>;
  /** Acknowledges each heartbeat; a test turns it off to fall silent. */
  acknowledgesHeartbeats = true;
  /** Everything that arrived, in order: message types, and `chunk`. */
  readonly order: string[] = [];

  constructor(server: FakeServer, socket: WebSocket, headers: Record<string, unknown>) {
    this.#server = server;
    this.#socket = socket;
    this.headers = headers;
    socket.on('message', (data: Buffer, isBinary: boolean) => this.#receive(data, isBinary));
    this.closed = new Promise((resolve) => {
      socket.on('close', (code, reason) => resolve({ code, reason: reason.toString('utf8') }));
    });
  }

  /** Returns the next message of this type; others stay for whoever waits for them. */
  async next<T extends AgentMessage['type']>(type: T): Promise<Extract<AgentMessage, { type: T }>> {
    return (await this.#messages.take((message) => message.type === type)) as Extract<
      AgentMessage,
      { type: T }
    >;
  }

  /** Returns the next output chunk. */
  nextFrame(): Promise<OutputFrame> {
    return this.#frames.take(() => true);
  }

  /** Returns how many messages of this type arrived that nobody took. */
  untaken(type: AgentMessage['type']): number {
    return this.#messages.waiting.filter((message) => message.type === type).length;
  }

  send(message: ServerMessage): void {
    this.#socket.send(JSON.stringify(message));
  }

  sendText(text: string): void {
    this.#socket.send(text);
  }

  close(code: number, reason = ''): void {
    this.#socket.close(code, reason);
  }

  /** Breaks the connection without a close frame. */
  cut(): void {
    this.#socket.terminate();
  }

  /** Stops reading from the agent until `resumeReading`. */
  pauseReading(): void {
    this.#socket.pause();
  }

  resumeReading(): void {
    this.#socket.resume();
  }

  challenge(of = installationId, serverNonce = randomBytes(32)): void {
    this.send({
      type: 'challenge',
      serverNonce: serverNonce.toString('base64'),
      installationId: of,
      serverId: 'server-1',
      versions: [1],
    });
  }

  /** Sends a challenge, verifies `authenticate`, and sends a welcome. */
  async welcome(options: WelcomeOptions = {}): Promise<AgentMessageOf<'authenticate'>> {
    const server = this.#server;
    const serverNonce = randomBytes(32);
    for (let times = 0; times < (options.challenges ?? 1); times += 1)
      this.challenge(installationId, serverNonce);
    const authenticate = await this.next('authenticate');
    const transcript = handshakeTranscript({
      serverNonce,
      agentNonce: decodeBase64(authenticate.agentNonce),
      installationId,
      serverId: 'server-1',
      agentId: authenticate.agentId,
      segmentId: authenticate.segmentId,
      offeredByServer: [1],
      offeredByAgent: authenticate.versions,
      chosen: authenticate.chosenVersion,
    });
    if (this.agentKey !== undefined) {
      const genuine = await verifyHandshake('agent', this.agentKey, transcript, authenticate.signature);
      if (!genuine) throw new Error("the agent's signature does not hold");
    }
    server.generation += 1;
    const transcriptKey = options.transcriptKey ?? server.key;
    const generationKey = options.generationKey ?? server.key;
    this.send({
      type: 'welcome',
      chosenVersion: 1,
      signature: await signHandshake('server', transcriptKey.privateKey, transcript),
      sessionNumber: server.generation,
      generation: server.generation,
      generationSignature: await signGeneration(generationKey.privateKey, {
        installationId,
        agentId: authenticate.agentId,
        generation: server.generation,
      }),
      heartbeatIntervalMs: options.heartbeatIntervalMs ?? 60_000,
      leaseTtlMs: options.leaseTtlMs ?? 600_000,
      ...(options.isOlder === true
        ? {}
        : { capabilities: [...serverCapabilities], stepReasons: [...stepReasons] }),
    });
    return authenticate;
  }

  /** If set, `welcome` checks the agent's signature with it. */
  agentKey: Uint8Array | undefined;

  #receive(data: Buffer, isBinary: boolean): void {
    if (isBinary) {
      const frame = decodeFrame(data, limits.maxChunkRawBytes);
      if (frame === undefined) throw new Error('the agent sent a malformed frame');
      this.order.push('chunk');
      this.#frames.put(frame);
      return;
    }
    const text = data.toString('utf8');
    const message = JSON.parse(text) as AgentMessage;
    const valid: boolean = Check(agentToServer[message.type], message);
    if (!valid) throw new Error(`the agent sent an invalid message: ${text}`);
    this.order.push(message.type);
    this.#messages.put(message);
    if (message.type === 'heartbeat' && this.acknowledgesHeartbeats) {
      this.send({ type: 'heartbeat_ack', sequence: message.sequence });
    }
  }
}
