// The port that everybody comes to: taken before there is anything to answer with, and let go of at the end without
// waiting for those who say nothing.
import {
  createServer as createHttpServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from 'node:http';
import { createServer as createHttpsServer, type Server as HttpsServer } from 'node:https';
import type { Socket } from 'node:net';
import { AnsweredBodies, type AnsweredBodyLimits, answeredBodyLimits } from './answered-bodies.ts';
import { type Asked, endFaultyClients } from './end-faulty-clients.ts';
import { FairTurns } from './fair-turns.ts';
import { UnreadAnswers, type UnreadLimits, unreadLimits } from './unread-answers.ts';

/** All agents of many sites may come back in one moment: the system keeps them until the server gets to them. */
const backlog = 4_096;
/** Longer than agents wait for theirs. */
const tlsHandshakeMs = 30_000;
/**
 * A client that sends its headers, or its request, slower than this is not one of ours. It is found out when connections
 * are looked at, and where nothing was asked on one yet, it is one with slow headers.
 */
const slowClients = { headersTimeout: 15_000, requestTimeout: 60_000, connectionsCheckingInterval: 5_000 };
/** A person’s console comes to some dozens at once, and a program that asks one after the other has nothing under way between two. */
const turnsOfCallers = {
  ...{ mostUnderWay: 6, mostBesideOthers: 2, beginsInAMs: 1, beginsOfEachInAMs: 0.5 },
  atWill: { perS: 100, burst: 24 },
};
/** Of one user, or one address: as many as a user may ask at once. At that pace they wait for four seconds, and for twenty where others ask. */
const mostWaitingOfEach = 2_000;
/** Of these many may be behind one address, and a sign-in waits long for the one before. */
const turnsOfStrangers = { mostUnderWay: Number.POSITIVE_INFINITY, beginsInAMs: 0.2, beginsOfEachInAMs: 0 };
/** So many requests a client may send on one connection before the one ahead of them is answered; browsers send none. */
const maxAhead = 100;
/** At the end requests that are being answered have so long. */
const closeWithinMs = 2_000;

export interface ListenAddress {
  address: string;
  /** 0 takes any free one. */
  port: number;
}

export interface ListenOptions extends ListenAddress {
  tls?: { certPem: string; keyPem: string } | undefined;
  /** The product's own unless told. */
  unread?: UnreadLimits;
  slow?: typeof slowClients;
  bodies?: AnsweredBodyLimits;
  mostWaiting?: number;
}

export class Listener {
  readonly server: Server;
  readonly port: number;
  readonly #requests: RequestSwitch;
  readonly #handshakes: Handshakes | undefined;

  private constructor(server: Server, requests: RequestSwitch, handshakes: Handshakes | undefined) {
    this.server = server;
    this.#requests = requests;
    this.#handshakes = handshakes;
    const address = server.address();
    this.port = typeof address === 'object' && address !== null ? address.port : 0;
  }

  /** Takes the port; requests are told to come back until there are routes. Throws {@link ListenError}. */
  static async start({
    tls,
    unread,
    slow = slowClients,
    bodies = answeredBodyLimits,
    mostWaiting = mostWaitingOfEach,
    ...at
  }: ListenOptions): Promise<Listener> {
    const requests = new RequestSwitch({
      unread: new UnreadAnswers(unread ?? unreadLimits),
      bodies: new AnsweredBodies(bodies),
      mostWaiting,
    });
    const secure =
      tls &&
      createHttpsServer(
        {
          ...{ cert: tls.certPem, key: tls.keyPem, minVersion: 'TLSv1.2' },
          ...{ handshakeTimeout: tlsHandshakeMs, ...slow },
        },
        requests.listener,
      );
    const server = (secure ?? createHttpServer(slow, requests.listener)) as Server;
    endFaultyClients(server, (socket) => requests.asked(socket));
    const handshakes = secure && new Handshakes(secure);
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host: at.address, port: at.port, backlog }, () => {
        server.off('error', reject);
        resolve();
      });
    }).catch((error: NodeJS.ErrnoException) => {
      requests.close();
      throw new ListenError(at, error);
    });
    return new Listener(server, requests, handshakes);
  }

  /** From here on requests are answered by this, in turns of those who ask. */
  open(answer: RequestListener, askerOf: (request: IncomingMessage) => Asker = addressOf): void {
    this.#requests.open(answer, askerOf);
  }

  /** From here on each connection is closed when its request is answered. */
  drain(): void {
    this.#requests.closeConnections();
  }

  /**
   * Takes nobody new and ends what is left: at once what was answered, the rest when it is, or after two seconds. So long it
   * takes with a connection on which nothing was asked yet, which to Node is one with a request under way.
   */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.server.close(() => resolve()));
    this.#handshakes?.end();
    this.server.closeIdleConnections();
    const force = setTimeout(() => this.server.closeAllConnections(), closeWithinMs);
    await closed;
    clearTimeout(force);
    this.#requests.close();
  }
}

/** Who asks. Callers that are known and strangers have their turns beside one another, and neither for the other's. */
export interface Asker {
  isKnown: boolean;
  /** What it asks counts together. */
  name: string;
  /** The session or token, of a caller who may have several. */
  by?: string;
}

interface Turns extends Asked {
  /** Behind the one that is being answered. */
  waiting: number;
}

class RequestSwitch {
  #listener: RequestListener = (_request, response) => sendAway(response);
  #askerOf: (request: IncomingMessage) => Asker = addressOf;
  #isClosing = false;
  readonly #ofCallers: FairTurns;
  readonly #ofStrangers: FairTurns;
  readonly #ofProbes: FairTurns;
  readonly #unread: UnreadAnswers;
  readonly #bodies: AnsweredBodies;
  /** Weak, as of what waits on a connection that breaks Node tells no end. */
  readonly #turns = new WeakMap<Socket, Turns>();

  constructor(of: { unread: UnreadAnswers; bodies: AnsweredBodies; mostWaiting: number }) {
    this.#unread = of.unread;
    this.#bodies = of.bodies;
    this.#ofCallers = new FairTurns({ ...turnsOfCallers, mostWaiting: of.mostWaiting });
    this.#ofStrangers = new FairTurns({
      ...turnsOfStrangers,
      mostWaiting: of.mostWaiting,
      giveWayTo: this.#ofCallers,
    });
    this.#ofProbes = new FairTurns({ ...turnsOfStrangers, mostWaiting: of.mostWaiting });
  }

  readonly listener: RequestListener = (request, response) => {
    if (this.#isClosing) response.shouldKeepAlive = false;
    this.#bodies.watch(request, response);
    this.#inTurn(request.socket, response, () => {
      const { isKnown, name, by } = this.#askerOf(request);
      const begin = () => {
        if (request.socket.destroyed) return;
        this.#unread.watch(response);
        this.#listener(request, response);
      };
      const end = this.#turnsOf(request, isKnown).take(name, begin, by);
      if (end !== undefined) response.once('close', end);
      else {
        this.#unread.watch(response);
        sendAway(response);
      }
    });
  };

  /** Of a load balancer behind whose address others may be: it gives up a server that answers late. */
  #turnsOf({ url }: IncomingMessage, isKnown: boolean): FairTurns {
    if (url === '/healthz' || url === '/readyz') return this.#ofProbes;
    return isKnown ? this.#ofCallers : this.#ofStrangers;
  }

  /**
   * Clients that ask again before they are answered would have any number of questions kept, and of answers made, for one
   * connection.
   */
  #inTurn(socket: Socket, response: ServerResponse, answer: () => void): void {
    // What was read with what it was cut off for.
    if (socket.destroyed) return;
    const turns = this.#turns.get(socket) ?? { underWay: response, last: response, waiting: 0 };
    const before = turns.last;
    turns.last = response;
    this.#turns.set(socket, turns);
    response.once('close', () => {
      if (turns.last === response) this.#turns.delete(socket);
    });
    if (before === response) {
      answer();
      return;
    }
    turns.waiting += 1;
    if (turns.waiting > maxAhead) {
      socket.destroy();
      return;
    }
    before.once('close', () => {
      turns.waiting -= 1;
      if (socket.destroyed) return;
      turns.underWay = response;
      answer();
    });
  }

  /** As long as it is not all answered. */
  asked(socket: Socket): Asked | undefined {
    return this.#turns.get(socket);
  }

  close(): void {
    this.#unread.close();
  }

  closeConnections(): void {
    this.#isClosing = true;
  }

  open(listener: RequestListener, askerOf: (request: IncomingMessage) => Asker): void {
    this.#listener = listener;
    this.#askerOf = askerOf;
  }
}

/** For a moment. */
function sendAway(response: ServerResponse): void {
  response.writeHead(503, { 'Retry-After': '1', 'Content-Length': '0' }).end();
}

function addressOf({ socket }: IncomingMessage): Asker {
  return { isKnown: false, name: socket.remoteAddress ?? '' };
}

/** TLS handshakes under way: a server that is told to close its connections knows nothing of these. */
class Handshakes {
  readonly #sockets = new Map<string, Socket>();

  constructor(server: HttpsServer) {
    server.on('connection', (socket: Socket) => {
      const peer = peerOf(socket);
      this.#sockets.set(peer, socket);
      socket.once('close', () => {
        if (this.#sockets.get(peer) === socket) this.#sockets.delete(peer);
      });
    });
    server.on('secureConnection', (socket) => this.#sockets.delete(peerOf(socket)));
  }

  end(): void {
    for (const socket of this.#sockets.values()) socket.destroy();
  }
}

/** The same for a connection and for the TLS on it. */
function peerOf({ remoteAddress, remotePort }: Pick<Socket, 'remoteAddress' | 'remotePort'>): string {
  return `${remoteAddress} ${remotePort}`;
}

/** The port can't be had: says which, and what to do. */
export class ListenError extends Error {
  constructor({ address, port }: ListenAddress, cause: NodeJS.ErrnoException) {
    const advice: Record<string, string> = {
      EADDRINUSE:
        'another program listens there. Stop it, or choose a port with --port (0 takes any free one).',
      EACCES: 'this user may not listen there. Choose a port from 1024 on with --port.',
      EADDRNOTAVAIL: 'this machine has no such address. Choose one of its own with --listen.',
    };
    super(`Can’t listen on ${address}, port ${port}: ${advice[cause.code ?? ''] ?? cause.message}`, {
      cause,
    });
    this.name = 'ListenError';
  }
}
