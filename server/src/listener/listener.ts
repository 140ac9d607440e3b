// The port that everybody connects to. It is taken before there is anything to answer with, and released at the end
// without waiting for clients that send nothing.
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
import { isUnheard, requestClass } from './asked-upgrades.ts';
import { type Asked, endFaultyClients } from './end-faulty-clients.ts';
import { FairTurns } from './fair-turns.ts';
import { refuse } from './refusals.ts';
import { type ListenAddress, takePort } from './take-port.ts';
import { UnreadAnswers, type UnreadLimits, unreadLimits } from './unread-answers.ts';

/** Longer than agents wait for their handshake. */
const tlsHandshakeMs = 30_000;
/**
 * A client that sends its headers, or its request, more slowly than this is not one of ours. It is detected when
 * connections are checked. A connection on which nothing was sent yet counts as one with slow headers.
 */
const slowClients = { headersTimeout: 15_000, requestTimeout: 60_000, connectionsCheckingInterval: 5_000 };
/**
 * How much of a body or an answer waits before its source is told to, in bytes. That of Node 20; four times as much, as in
 * newer versions, lets 190 KB of each refused body in instead of 64.
 */
const highWaterMark = 16 * 1024;
/**
 * A person’s console sends some dozens of requests at once; a program that sends one after the other has nothing under
 * way between two.
 */
const turnsOfCallers = {
  mostUnderWay: 6,
  mostBesideOthers: 2,
  beginsInAMs: 1,
  beginsOfEachInAMs: 0.5,
  atWill: { perS: 100, burst: 24 },
};
/**
 * Per user or address: as many as a user may send at once. At the above pace they wait for four seconds, or twenty if
 * others ask.
 */
const mostWaitingOfEach = 2_000;
/** Many of these may share an address, and a sign-in waits long for the one before it. */
const turnsOfStrangers = { mostUnderWay: Number.POSITIVE_INFINITY, beginsInAMs: 0.2, beginsOfEachInAMs: 0 };
/** How many further requests a client may send on a connection before the first is answered; browsers send none. */
const maxAhead = 100;
/** How long requests that are being answered get at the end. */
const closeWithinMs = 2_000;

export interface ListenOptions extends ListenAddress {
  tls?: { certPem: string; keyPem: string } | undefined;
  /** The limits below default to the product's own. */
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

  /**
   * Takes the port. Requests are told to come back until `open` is called.
   *
   * @throws {ListenError}
   */
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
    // An answer that was still to come would end up among the frames.
    const IncomingMessage = requestClass(({ socket }) => requests.asked(socket) === undefined);
    // What Node itself answers without the header Host has no body; the app refuses it too.
    const options = { ...slow, highWaterMark, IncomingMessage, requireHostHeader: false };
    const secure =
      tls &&
      createHttpsServer(
        {
          cert: tls.certPem,
          key: tls.keyPem,
          minVersion: 'TLSv1.2',
          handshakeTimeout: tlsHandshakeMs,
          ...options,
        },
        requests.listener,
      );
    const server = (secure ?? createHttpServer(options, requests.listener)) as Server;
    // Without this listener, Node would answer without a body.
    server.on('checkExpectation', requests.refuseExpectation);
    endFaultyClients(server, (socket) => requests.asked(socket));
    const handshakes = secure && new Handshakes(secure);
    await takePort(server, at).catch((error: unknown) => {
      requests.close();
      throw error;
    });
    return new Listener(server, requests, handshakes);
  }

  /** From now on requests are answered by `answer`, in turns of those who ask. */
  open(answer: RequestListener, askerOf: (request: IncomingMessage) => Asker = addressOf): void {
    this.#requests.open(answer, askerOf);
  }

  /** From now on each connection is closed when its request is answered. */
  drain(): void {
    this.#requests.closeConnections();
  }

  /**
   * Takes no new connections and ends the others: those already answered at once, the rest when they are answered, or
   * after two seconds. A connection on which nothing was sent yet takes that long, because to Node it has a request
   * under way.
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

/** Who is asking. Known callers and strangers take their turns separately. */
export interface Asker {
  isKnown: boolean;
  /** Requests with the same name count together. */
  name: string;
  /** The session or token, for a caller who may have several. */
  by?: string;
}

interface Turns extends Asked {
  /** How many wait behind the one that is being answered. */
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
  /** Weak, because Node reports no end for requests that wait on a connection that breaks. */
  readonly #turns = new WeakMap<Socket, Turns>();
  /** Connections that end with the answer to their last request; whatever looks like another one is none. */
  readonly #ending = new WeakSet<Socket>();

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
    if (this.#ending.has(request.socket)) return;
    const isLast = isUnheard(request);
    if (isLast) this.#ending.add(request.socket);
    if (isLast || this.#isClosing) response.shouldKeepAlive = false;
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

  /** Answers a request that expects something other than 100-continue. */
  readonly refuseExpectation: RequestListener = (request, response) => {
    this.#bodies.watch(request, response);
    this.#inTurn(request.socket, response, () => {
      this.#unread.watch(response);
      refuse(response, 417);
    });
  };

  /** Probes come from a load balancer whose address others may share, and which gives up a server that answers late. */
  #turnsOf({ url }: IncomingMessage, isKnown: boolean): FairTurns {
    if (url === '/healthz' || url === '/readyz') return this.#ofProbes;
    return isKnown ? this.#ofCallers : this.#ofStrangers;
  }

  /**
   * Clients that send further requests before they are answered could make the server keep any number of requests and
   * answers for one connection.
   */
  #inTurn(socket: Socket, response: ServerResponse, answer: () => void): void {
    // It was read together with the request for which the connection was cut off.
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

  /** Returns the requests on a connection, as long as they are not all answered. */
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

/** Sends the client away for a moment. */
function sendAway(response: ServerResponse): void {
  response.writeHead(503, { 'Retry-After': '1', 'Content-Length': '0' }).end();
}

function addressOf({ socket }: IncomingMessage): Asker {
  return { isKnown: false, name: socket.remoteAddress ?? '' };
}

/** TLS handshakes under way, which a server that is told to close its connections does not know about. */
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

/** The same for a connection and for the TLS socket on it. */
function peerOf({ remoteAddress, remotePort }: Pick<Socket, 'remoteAddress' | 'remotePort'>): string {
  return `${remoteAddress} ${remotePort}`;
}
