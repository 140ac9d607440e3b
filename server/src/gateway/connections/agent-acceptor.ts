// Accepts WebSocket upgrades from agents and runs the handshake, with limits on everything that isn't authenticated.
import type { IncomingMessage, Server } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { closeCodes, limits, subprotocol } from '@opsconductor/protocol';
import { type WebSocket, WebSocketServer } from 'ws';
import type { Log } from '../../log.ts';
import { Admissions } from '../../pace/admissions.ts';
import { peerAddress } from '../../peer-address.ts';
import { noteClose } from '../../store/agents/agent-lifecycle.ts';
import { closeSession } from '../../store/agents/agent-sessions.ts';
import type { Sql } from '../../store/database/connection.ts';
import { within } from '../../within.ts';
import { Batches } from '../batches.ts';
import { parseAgentFrame } from '../link/message-codec.ts';
import {
  type Authenticated,
  authenticateAll,
  type HandshakeSettings,
  newChallenge,
  type Opening,
  type ServerIdentity,
} from './handshake.ts';

export const connectPath = '/api/v1/agent/connect';
/** Agents send each message in one frame, but an intermediary may have split it. */
const maxFragments = 16;
/** Pieces in which one frame is read. For the largest frame, that is a quarter of a kilobyte each. */
const maxBufferedChunks = 16_384;
/** Limit for everything on the socket before the handshake is done, including the HTTP upgrade. */
const maxUnauthenticatedBytes = limits.maxHandshakeFrameBytes * 4;
/** One batch waits for the database while another is verified. */
const batchesAtATime = 2;

export type Accepted = Extract<Authenticated, { ok: true }>;

export interface AcceptorDeps {
  sql: Sql;
  identity: ServerIdentity;
  settings: HandshakeSettings;
  log: Log;
  isAllowedHost(host: string | undefined): boolean;
  /** Connections from one address that haven't authenticated yet. `limits.maxUnauthenticatedPerAddress` by default. */
  maxUnauthenticatedPerAddress?: number;
  /** Whether a proxy in front adds the agent's address to X-Forwarded-For. */
  behindTlsProxy?: boolean;
  /** Takes over an authenticated connection. Resolves when the agent can be given steps, or is gone. */
  accept(socket: WebSocket, agent: Accepted, stream: Socket, address: string): Promise<void>;
}

export class AgentAcceptor {
  readonly #deps: AcceptorDeps;
  readonly #sockets: WebSocketServer;
  /** Number of connections that haven't authenticated yet, including those that wait in line, by address. */
  readonly #unknown = new Map<string, number>();
  /** Batched so that a whole site that comes back at once leaves database connections for everything else. */
  readonly #handshakes: Batches<Opening, Authenticated>;
  readonly #admissions = new Admissions();
  #closed = false;

  constructor(deps: AcceptorDeps) {
    this.#deps = deps;
    this.#handshakes = new Batches({
      most: limits.maxHandshakesAtATime,
      atATime: batchesAtATime,
      work: (openings) => authenticateAll(deps, openings),
    });
    this.#sockets = new WebSocketServer({
      noServer: true,
      maxPayload: limits.maxControlFrameBytes,
      // Each piece keeps everything that was read with it: single bytes of a message between 64 KiB of pongs would add
      // up to a gigabyte.
      maxFragments,
      maxBufferedChunks,
      perMessageDeflate: false,
      handleProtocols: (offered) => (offered.has(subprotocol) ? subprotocol : false),
    });
    // `ws` leaves it out; agents compare their clock with it.
    this.#sockets.on('headers', (headers) => headers.push(`Date: ${new Date().toUTCString()}`));
  }

  attach(server: Pick<Server, 'on'>): void {
    server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      socket.on('error', () => socket.destroy());
      const refusal = this.#refusal(request);
      if (refusal !== undefined) {
        // A peer that never closes its side would keep the socket, because no HTTP timeout applies after an upgrade.
        socket.once('finish', () => socket.destroy());
        socket.end(`HTTP/1.1 ${refusal}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
        return;
      }
      this.#sockets.handleUpgrade(request, socket, head, (webSocket) => this.#greet(webSocket, request));
    });
  }

  close(): void {
    this.#closed = true;
    this.#sockets.close();
  }

  #refusal(request: IncomingMessage): string | undefined {
    const address = this.#addressOf(request);
    if (this.#closed) return '503 Service Unavailable';
    // Not parsed by URL, which throws on some of what a client may send here.
    if (request.url?.split('?', 1)[0] !== connectPath) return '404 Not Found';
    // Browsers always send Origin; agents never do.
    if (request.headers.origin !== undefined) return '403 Forbidden';
    if (!this.#deps.isAllowedHost(request.headers.host)) return '421 Misdirected Request';
    const offered = request.headers['sec-websocket-protocol']?.split(',').map((name) => name.trim()) ?? [];
    if (!offered.includes(subprotocol)) return '400 Bad Request';
    const most = this.#deps.maxUnauthenticatedPerAddress ?? limits.maxUnauthenticatedPerAddress;
    if ((this.#unknown.get(address) ?? 0) >= most) return '429 Too Many Requests';
    return undefined;
  }

  /** Returns the agent's address, even behind a proxy that terminates TLS. */
  #addressOf(request: IncomingMessage): string {
    return peerAddress(request, this.#deps.behindTlsProxy ?? false);
  }

  #greet(socket: WebSocket, request: IncomingMessage): void {
    const address = this.#addressOf(request);
    const challenge = newChallenge(this.#deps.identity);
    const stream = request.socket;
    const known = this.#watchUnknown(socket, stream, address);
    const timer = setTimeout(
      () => socket.close(closeCodes.handshakeTimeout, 'handshake took too long'),
      limits.handshakeTimeoutMs,
    );
    const heard = () => {
      clearTimeout(timer);
      socket.off('close', heard);
      socket.off('message', onMessage);
    };
    const onMessage = (data: Buffer, isBinary: boolean) => {
      heard();
      void this.#authenticate(socket, challenge, isBinary ? undefined : data, { stream, address, known });
    };
    socket.on('error', () => socket.terminate());
    socket.on('close', heard);
    socket.on('message', onMessage);
    socket.send(JSON.stringify(challenge));
  }

  /**
   * Counts a connection for its address, and limits it to what a handshake takes, even while it waits in line. This
   * ends when the connection closes, or when the returned function is called because it has authenticated.
   */
  #watchUnknown(socket: WebSocket, stream: Socket, address: string): () => void {
    this.#unknown.set(address, (this.#unknown.get(address) ?? 0) + 1);
    const watchBytes = () => {
      if (stream.bytesRead > maxUnauthenticatedBytes) socket.terminate();
    };
    let isKnown = false;
    const known = () => {
      if (isKnown) return;
      isKnown = true;
      stream.off('data', watchBytes);
      socket.off('close', known);
      const left = (this.#unknown.get(address) ?? 1) - 1;
      if (left > 0) this.#unknown.set(address, left);
      else this.#unknown.delete(address);
    };
    stream.on('data', watchBytes);
    socket.on('close', known);
    return known;
  }

  async #authenticate(
    socket: WebSocket,
    challenge: ReturnType<typeof newChallenge>,
    data: Buffer | undefined,
    { stream, address, known }: { stream: Socket; address: string; known: () => void },
  ): Promise<void> {
    const parsed = data === undefined ? undefined : parseAgentFrame(data);
    if (!parsed?.ok || parsed.message.type !== 'authenticate') {
      socket.close(closeCodes.invalidMessage, 'expected authenticate');
      return;
    }
    const { message } = parsed;
    // Grouped by the segment that the agent claims: one agent of each segment first, then the second of each.
    await this.#admissions.enter(message.segmentId);
    try {
      // The agent or its network gave up while it was waiting.
      if (socket.readyState !== socket.OPEN) return;
      const isOpen = () => socket.readyState === socket.OPEN;
      const result = await this.#handshakes.do({ challenge, message, address, isOpen });
      if (!result.ok) {
        const { agentId } = message;
        this.#deps.log.warn({ agentId, address, reason: result.reason }, 'agent refused');
        const code = closeCodes[result.refusal];
        socket.close(code, result.reason);
        if (result.isProven)
          await noteClose(this.#deps.sql, { agentId, code, reason: result.reason, address });
        return;
      }
      known();
      if (socket.readyState !== socket.OPEN) {
        await closeSession(this.#deps.sql, result.agentId, result.sessionNumber, false);
        return;
      }
      const arrived = this.#deps.accept(socket, result, stream, address);
      socket.send(JSON.stringify(result.welcome));
      // An agent that has authenticated and then says nothing mustn't occupy its place for longer.
      await within(arrived, limits.handshakeTimeoutMs);
    } catch (error) {
      this.#deps.log.error(
        { err: error, address },
        'the handshake with an agent failed; the agent tries again',
      );
      socket.close(closeCodes.serverRestart, 'try again');
    } finally {
      this.#admissions.leave();
    }
  }
}
