// For tests: a gateway on a real port and database, and agents that say what the test wants.
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import {
  type AgentMessage,
  type AgentMessageOf,
  chainLink,
  encodeFrame,
  noVersionInCommon,
  type OutputFrame,
  type ServerMessage,
  type ServerMessageOf,
  subprotocol,
} from '@opsconductor/protocol';
import {
  decodeBase64,
  handshakeTranscript,
  type KeyPair,
  signGeneration,
  signHandshake,
  verifyHandshake,
} from '@opsconductor/protocol/sealing';
import { type ClientOptions, WebSocket } from 'ws';
import { createLog } from '../log.ts';
import { CleanUpRequests } from '../runs/ends/clean-up-requests.ts';
import { LeaseBuilder } from '../runs/leases/lease-builder.ts';
import { digestOf, setupOutput, type TestOutput } from '../runs/output/output-testing.ts';
import { testServerId } from '../runs/testing.ts';
import { HandedOnValues } from '../runs/values/handed-on.ts';
import { takeNewKeys } from '../segments/agent-keys/take-new-keys.ts';
import { takeKeyGeneration } from '../segments/segment-keys/take-key-generation.ts';
import type { ForgetNotice } from '../store/database/notifications.ts';
import { connectPath } from './connections/agent-acceptor.ts';
import type { HandshakeSettings } from './connections/handshake.ts';
import { Gateway } from './gateway.ts';

const waitMs = 20_000;

export interface TestGateway extends TestOutput {
  gateway: Gateway;
  url: string;
  logged: string[];
  /** Returns the number of connections that the server holds. */
  openConnections(): Promise<number>;
  /** Opens a connection without sending anything. */
  dial(options?: ClientOptions, path?: string, protocol?: string): AgentSocket;
  /** Connects the agent, through handshake and resume. */
  connectAgent(resume?: Partial<AgentMessageOf<'resume'>>, generation?: number): Promise<AgentSocket>;
  /** Does the same for another agent of the segment. */
  connectAnother(agent: AnotherAgent, resume?: Partial<AgentMessageOf<'resume'>>): Promise<AgentSocket>;
  /** Returns the right `authenticate` message for this challenge. */
  proof(
    challenge: ServerMessageOf<'challenge'>,
    generation?: number,
    versions?: number[],
  ): Promise<AgentMessageOf<'authenticate'>>;
  /** Returns the generation that the agent holds on disk. */
  generation(): Promise<number>;
  /** Returns the state of the agent in the database. */
  agentState(): Promise<string | undefined>;
}

export interface AnotherAgent {
  agentId: number;
  signing: KeyPair;
}

export async function setupGateway(
  settings: Partial<HandshakeSettings> = {},
  wrapBuilder: (builder: LeaseBuilder) => Pick<LeaseBuilder, 'build'> = (builder) => builder,
  timings: {
    claimPollMs?: number;
    cleanUpRoundMs?: number;
    maxUnauthenticatedPerAddress?: number;
    behindTlsProxy?: boolean;
    onForget?: (notice: ForgetNotice | undefined) => void;
  } = {},
): Promise<TestGateway> {
  const t = await setupOutput();
  const logged: string[] = [];
  const builder = new LeaseBuilder({ sql: t.sql, masterKey: t.masterKey });
  const wrapped = wrapBuilder(builder);
  const gateway = new Gateway({
    sql: t.sql,
    identity: {
      installationId: t.identity.installationId,
      serverId: testServerId,
      serverKey: t.identity.serverKey.publicKey,
      serverPrivateKey: t.identity.serverKey.privateKey,
    },
    // Most agents of tests send no heartbeat: their sessions last longer than any test may.
    settings: { heartbeatIntervalMs: 200, leaseTtlMs: 120_000, ...settings },
    builder: { stepsAhead: (stepId) => builder.stepsAhead(stepId), build: (steps) => wrapped.build(steps) },
    cleanUps: new CleanUpRequests({ sql: t.sql, builder }),
    handedOn: new HandedOnValues(t),
    writer: t.writer,
    keys: t.keys,
    takeKeyGeneration: (agentId, offer) =>
      takeKeyGeneration(
        { sql: t.sql, masterKey: t.masterKey, installationId: t.identity.installationId },
        agentId,
        offer,
      ),
    takeNewKeys: (agentId, offer) =>
      takeNewKeys(
        { sql: t.sql, masterKey: t.masterKey, installationId: t.identity.installationId },
        agentId,
        offer,
      ),
    ...timings,
    hub: t.hub,
    log: createLog({ level: 'info', plain: false, destination: { write: (line) => logged.push(line) } }),
    isAllowedHost: (host) => host?.startsWith('127.0.0.1') === true,
  });
  const http = createServer().listen(0, '127.0.0.1');
  await once(http, 'listening');
  await gateway.start(http);
  const url = `ws://127.0.0.1:${(http.address() as AddressInfo).port}`;
  const sockets: AgentSocket[] = [];
  const { agentId } = t.agent;
  const newest = async (id = agentId) => {
    const [row] = await t.sql<{ generation: number }[]>`select generation from agents where id = ${id}`;
    return row?.generation ?? 0;
  };
  const dial = (options: ClientOptions = {}, path = connectPath, protocol: string = subprotocol) => {
    const socket = new AgentSocket(new WebSocket(`${url}${path}`, [protocol], options));
    sockets.push(socket);
    return socket;
  };
  const proof = async (
    challenge: ServerMessageOf<'challenge'>,
    generation?: number,
    versions: number[] = [1],
    as: AnotherAgent = { agentId, signing: t.agentKeys.signing },
  ) =>
    prove(challenge, {
      keys: as.signing,
      serverKey: t.identity.serverKey,
      agentId: as.agentId,
      segmentId: t.segmentId,
      generation: generation ?? (await newest(as.agentId)),
      versions,
    });
  const connect = async (
    prover: (challenge: ServerMessageOf<'challenge'>) => Promise<AgentMessageOf<'authenticate'>>,
    resume: Partial<AgentMessageOf<'resume'>>,
  ) => {
    const socket = dial();
    const challenge = await socket.next('challenge');
    const authenticate = await prover(challenge);
    socket.send(authenticate);
    const welcome = await socket.next('welcome');
    const transcript = transcriptOf(challenge, authenticate);
    const isGenuine = await verifyHandshake(
      'server',
      t.identity.serverKey.publicKey,
      transcript,
      welcome.signature,
    );
    if (!isGenuine) throw new Error('the server did not prove itself');
    socket.send({ ...emptyResume, generation: welcome.generation, ...resume });
    socket.sessionNumber = welcome.sessionNumber;
    socket.resumed = await socket.next('resumed');
    return socket;
  };
  const disposeRuns = t[Symbol.asyncDispose];
  return Object.assign(t, {
    gateway,
    url,
    logged,
    openConnections: () =>
      new Promise<number>((resolve, reject) =>
        http.getConnections((error, count) => (error ? reject(error) : resolve(count))),
      ),
    dial,
    proof,
    generation: () => newest(),
    async agentState() {
      const [row] = await t.sql<{ state: string }[]>`select state from agents where id = ${agentId}`;
      return row?.state;
    },
    connectAgent: (resume: Partial<AgentMessageOf<'resume'>> = {}, generation?: number) =>
      connect((challenge) => proof(challenge, generation), resume),
    connectAnother: (another: AnotherAgent, resume: Partial<AgentMessageOf<'resume'>> = {}) =>
      connect((challenge) => proof(challenge, undefined, [1], another), resume),
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.terminate();
      await gateway.stop();
      http.close();
      http.closeAllConnections();
      await disposeRuns();
    },
  });
}

export const emptyResume: AgentMessageOf<'resume'> = {
  type: 'resume',
  generation: 1,
  slots: 8,
  agentVersion: '0.1.0',
  platform: 'linux-x64',
  draining: false,
  journalIntact: true,
  attempts: [],
  rosterNumber: 0,
};

function transcriptOf(
  challenge: ServerMessageOf<'challenge'>,
  authenticate: Omit<
    AgentMessageOf<'authenticate'>,
    'type' | 'signature' | 'generation' | 'generationSignature'
  >,
): Uint8Array {
  return handshakeTranscript({
    serverNonce: decodeBase64(challenge.serverNonce),
    agentNonce: decodeBase64(authenticate.agentNonce),
    installationId: challenge.installationId,
    serverId: challenge.serverId,
    agentId: authenticate.agentId,
    segmentId: authenticate.segmentId,
    offeredByServer: challenge.versions,
    offeredByAgent: authenticate.versions,
    chosen: authenticate.chosenVersion,
  });
}

async function prove(
  challenge: ServerMessageOf<'challenge'>,
  agent: {
    keys: KeyPair;
    serverKey: KeyPair;
    agentId: number;
    segmentId: number;
    generation: number;
    versions: number[];
  },
): Promise<AgentMessageOf<'authenticate'>> {
  const { agentId, segmentId, generation, versions } = agent;
  const agentNonce = randomBytes(32).toString('base64');
  const chosenVersion = versions.includes(1) ? 1 : noVersionInCommon;
  const offer = { agentId, segmentId, agentNonce, versions, chosenVersion };
  const transcript = transcriptOf(challenge, offer);
  const { installationId } = challenge;
  return {
    type: 'authenticate',
    ...offer,
    signature: await signHandshake('agent', agent.keys.privateKey, transcript),
    generation,
    generationSignature: await signGeneration(agent.serverKey.privateKey, {
      installationId,
      agentId,
      generation,
    }),
  };
}

/** The agent's end of a connection. Messages are taken by type, in any order. */
export class AgentSocket {
  sessionNumber = 0;
  resumed: ServerMessageOf<'resumed'> = { type: 'resumed', attempts: [] };
  /** Resolves with the close code, or with the HTTP status if there was no upgrade. */
  readonly closed: Promise<number>;
  readonly #socket: WebSocket;
  readonly #messages: ServerMessage[] = [];
  readonly #waiting = new Set<() => void>();
  #isClosed = false;

  constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.on('message', (data) => {
      this.#messages.push(JSON.parse(String(data)) as ServerMessage);
      for (const check of [...this.#waiting]) check();
    });
    this.closed = new Promise((resolve) => {
      socket.on('unexpected-response', (request, response) => {
        resolve(response.statusCode ?? 0);
        request.destroy();
      });
      socket.on('error', () => undefined);
      socket.on('close', (code) => {
        this.#isClosed = true;
        resolve(code);
        for (const check of [...this.#waiting]) check();
      });
    });
  }

  /** Takes the first message of the type that hasn't been taken yet. */
  next<T extends ServerMessage['type']>(type: T): Promise<ServerMessageOf<T>> {
    return new Promise((resolve, reject) => {
      const done = (settle: () => void) => {
        clearTimeout(timer);
        this.#waiting.delete(check);
        settle();
      };
      const timer = setTimeout(
        () => done(() => reject(new Error(`no ${type} within ${waitMs} ms; ${this.#unread()}`))),
        waitMs,
      );
      const check = () => {
        const at = this.#messages.findIndex((message) => message.type === type);
        if (at !== -1) done(() => resolve(this.#messages.splice(at, 1)[0] as ServerMessageOf<T>));
        else if (this.#isClosed)
          done(() => reject(new Error(`closed before ${type} came; ${this.#unread()}`)));
      };
      this.#waiting.add(check);
      check();
    });
  }

  /** Types of the messages that arrived and haven't been taken yet. */
  get untaken(): string[] {
    return this.#messages.map(({ type }) => type);
  }

  send(message: AgentMessage): void {
    this.sendText(JSON.stringify(message));
  }

  sendText(text: string): void {
    this.#socket.send(text);
  }

  /** Sends a fragment of a message that continues. */
  sendFragment(text: string): void {
    this.#socket.send(text, { fin: false });
  }

  sendFrame(frame: OutputFrame): void {
    this.#socket.send(encodeFrame(frame));
  }

  sendBytes(bytes: Uint8Array): void {
    this.#socket.send(bytes, { binary: true });
  }

  /** Resolves when the server has acknowledged output up to this number. */
  async acknowledged(seq: number): Promise<void> {
    while (!(await this.next('output_ack')).acks.some((ack) => ack.seq >= seq));
  }

  /** Reads nothing more, so it doesn't notice a close either. */
  stopReading(): void {
    this.#socket.pause();
  }

  /** Ends the connection without a close. */
  terminate(): void {
    this.#socket.terminate();
  }

  #unread(): string {
    return `unread: ${this.#messages.map((message) => message.type).join(', ')}`;
  }
}

/** Returns the digest chain over these chunks, as an agent reports it. */
export function chainOf(frames: readonly OutputFrame[]): string {
  let digest = Buffer.alloc(32);
  for (const frame of frames) {
    const link = chainLink({ ...frame, sha256: digestOf(frame) });
    digest = createHash('sha256').update(digest).update(link).digest();
  }
  return digest.toString('base64');
}
