// A relay between two parts of the system. It can cut, stall, make half-open or delay connections; for a WebSocket, it
// can also duplicate and reorder frames.
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import type { Direction } from './plan-round.ts';
import type { Prng } from './prng.ts';
import { FrameSplitter, type RelayedFrame } from './websocket-frames.ts';

export interface RelayOptions {
  /** Ports to try, in order; the first that answers is used. */
  targets(): readonly number[];
  /** Whether the traffic is a WebSocket, to be reported frame by frame. */
  isFramed: boolean;
  /** Called for each frame, before and after it is forwarded. */
  onFrame?: (direction: Direction, type: string, when: 'before' | 'after') => void;
}

/** Disturbance of the frames in one direction. */
export interface Trouble {
  delayMs?: number;
  /** Percentage of frames affected. */
  duplicated?: number;
  reordered?: number;
  random: Prng;
}

export class Relay {
  readonly port: number;
  readonly #server: Server;
  readonly #options: RelayOptions;
  readonly #links = new Set<Link>();
  #isCut = false;
  /** Directions in which nothing passes. */
  #silent: ReadonlySet<Direction> = new Set();
  #trouble: ReadonlyMap<Direction, Trouble> = new Map();

  private constructor(server: Server, options: RelayOptions) {
    this.#server = server;
    this.#options = options;
    this.port = (server.address() as AddressInfo).port;
    server.on('connection', (near) => void this.#accept(near));
  }

  static async start(options: RelayOptions): Promise<Relay> {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new Relay(server, options);
  }

  /** Breaks existing connections and refuses new ones, until `heal`. */
  cut(): void {
    this.#isCut = true;
    this.reset();
  }

  /** Breaks existing connections, losing everything in transit. */
  reset(): void {
    for (const link of this.#links) link.break();
  }

  /** Silently drops everything in these directions, until `heal`. */
  silence(directions: readonly Direction[]): void {
    this.#silent = new Set(directions);
    for (const link of this.#links) link.silence(this.#silent);
  }

  /** Removes one side without notice to the other; new connections work as usual. */
  loseSide(side: 'agent' | 'server'): void {
    for (const link of this.#links) link.loseSide(side);
  }

  setTrouble(directions: readonly Direction[], trouble: Trouble): void {
    this.#trouble = new Map(directions.map((direction) => [direction, trouble]));
  }

  heal(): void {
    this.#isCut = false;
    this.#silent = new Set();
    this.#trouble = new Map();
    for (const link of this.#links) link.heal();
  }

  troubleOf(direction: Direction): Trouble | undefined {
    return this.#trouble.get(direction);
  }

  async stop(): Promise<void> {
    this.cut();
    this.#server.close();
    await once(this.#server, 'close');
  }

  async #accept(near: Socket): Promise<void> {
    near.on('error', () => near.destroy());
    if (this.#isCut) {
      near.resetAndDestroy();
      return;
    }
    const far = await firstThatAnswers(this.#options.targets());
    if (far === undefined || this.#isCut || near.destroyed) {
      near.destroy();
      far?.destroy();
      return;
    }
    const link = new Link(near, far, this, this.#options);
    this.#links.add(link);
    link.silence(this.#silent);
    link.onGone = () => this.#links.delete(link);
  }
}

async function firstThatAnswers(ports: readonly number[]): Promise<Socket | undefined> {
  for (const port of ports) {
    const socket = connect(port, '127.0.0.1');
    const answered = await new Promise<boolean>((resolve) => {
      socket.once('connect', () => resolve(true));
      socket.once('error', () => resolve(false));
    });
    if (answered) return socket;
    socket.destroy();
  }
  return undefined;
}

class Link {
  onGone: () => void = () => undefined;
  readonly #near: Socket;
  readonly #far: Socket;
  readonly #ways: Record<Direction, Way>;
  #isBroken = false;

  constructor(near: Socket, far: Socket, relay: Relay, options: RelayOptions) {
    this.#near = near;
    this.#far = far;
    this.#ways = {
      up: new Way('up', near, far, relay, options),
      down: new Way('down', far, near, relay, options),
    };
    for (const socket of [near, far]) {
      socket.setNoDelay(true);
      socket.on('error', () => socket.destroy());
      socket.on('close', () => this.#onClose());
    }
  }

  silence(directions: ReadonlySet<Direction>): void {
    for (const way of [this.#ways.up, this.#ways.down]) way.isSilent = directions.has(way.direction);
  }

  loseSide(side: 'agent' | 'server'): void {
    this.#isBroken = true;
    this.silence(new Set(['up', 'down']));
    (side === 'agent' ? this.#near : this.#far).destroy();
  }

  break(): void {
    for (const socket of [this.#near, this.#far]) socket.resetAndDestroy();
    this.#over();
  }

  heal(): void {
    if (this.#isBroken) this.break();
    else this.silence(new Set());
  }

  #onClose(): void {
    // The end of a lost side isn't reported to the other one until the network is healed.
    if (this.#isBroken && !(this.#near.destroyed && this.#far.destroyed)) return;
    // Data that has arrived may still have to be written.
    for (const socket of [this.#near, this.#far]) if (!socket.destroyed) socket.end(() => socket.destroy());
    this.#over();
  }

  #over(): void {
    for (const way of [this.#ways.up, this.#ways.down]) way.close();
    this.onGone();
  }
}

/** One direction of one connection. */
class Way {
  readonly direction: Direction;
  readonly #from: Socket;
  readonly #to: Socket;
  readonly #relay: Relay;
  readonly #options: RelayOptions;
  readonly #splitter = new FrameSplitter();
  #held: RelayedFrame | undefined;
  readonly #timers = new Set<NodeJS.Timeout>();
  /** Delayed data, in order of arrival. */
  readonly #queue: { dueMs: number; send(): void }[] = [];
  #isSilent = false;
  #isFull = false;

  constructor(direction: Direction, from: Socket, to: Socket, relay: Relay, options: RelayOptions) {
    this.direction = direction;
    this.#from = from;
    this.#to = to;
    this.#relay = relay;
    this.#options = options;
    from.on('data', (bytes: Buffer) => this.#take(bytes));
    to.on('drain', () => {
      this.#isFull = false;
      this.#readOrNot();
    });
  }

  set isSilent(value: boolean) {
    this.#isSilent = value;
    this.#readOrNot();
  }

  #readOrNot(): void {
    if (this.#isSilent || this.#isFull) this.#from.pause();
    else this.#from.resume();
  }

  close(): void {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
  }

  #take(bytes: Buffer): void {
    const trouble = this.#relay.troubleOf(this.direction);
    if (!this.#options.isFramed) {
      this.#later(trouble, () => this.#write(bytes));
      return;
    }
    for (const frame of this.#splitter.push(bytes)) this.#pass(frame, trouble);
  }

  #pass(frame: RelayedFrame, trouble: Trouble | undefined): void {
    const held = this.#held;
    this.#held = undefined;
    const isOurs = frame.type !== 'protocol';
    if (isOurs && held === undefined && trouble?.random.chance((trouble.reordered ?? 0) / 100)) {
      this.#held = frame;
      // The very last frame must not be held forever.
      this.#after(250, () => {
        if (this.#held !== frame) return;
        this.#held = undefined;
        this.#send(frame);
      });
      return;
    }
    this.#later(trouble, () => this.#send(frame));
    if (held !== undefined) this.#later(trouble, () => this.#send(held));
    if (isOurs && trouble?.random.chance((trouble.duplicated ?? 0) / 100)) {
      const againMs = trouble.random.pick([0, 5, 300]);
      if (againMs === 0) this.#later(trouble, () => this.#send(frame));
      else this.#after(againMs, () => this.#send(frame));
    }
  }

  #send(frame: RelayedFrame): void {
    this.#options.onFrame?.(this.direction, frame.type, 'before');
    this.#write(frame.bytes);
    this.#options.onFrame?.(this.direction, frame.type, 'after');
  }

  #write(bytes: Buffer): void {
    if (this.#to.destroyed || this.#to.writableEnded) return;
    if (this.#to.write(bytes)) return;
    this.#isFull = true;
    this.#readOrNot();
  }

  #later(trouble: Trouble | undefined, send: () => void): void {
    const delayMs = trouble?.delayMs ?? 0;
    if (delayMs === 0 && this.#queue.length === 0) {
      send();
      return;
    }
    this.#queue.push({ dueMs: performance.now() + delayMs, send });
    if (this.#queue.length === 1) this.#after(delayMs, () => this.#sendDue());
  }

  #sendDue(): void {
    for (let [head] = this.#queue; head !== undefined; [head] = this.#queue) {
      const leftMs = head.dueMs - performance.now();
      if (leftMs > 0) {
        this.#after(leftMs, () => this.#sendDue());
        return;
      }
      this.#queue.shift();
      head.send();
    }
  }

  #after(ms: number, act: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      act();
    }, Math.ceil(ms));
    this.#timers.add(timer);
  }
}
