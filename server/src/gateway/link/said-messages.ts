// What is said to one agent: nothing before its resume is answered, the messages of one turn in one write, and no more
// than it reads.
import type { Duplex } from 'node:stream';
import type { WebSocket } from 'ws';

/** What was said to an agent and not taken by its connection: as much as leases for all its slots may come to at once. */
const maxUnreadBytes = 64 * 1024 * 1024;

export interface SaidMessagesDeps {
  socket: Pick<WebSocket, 'send' | 'readyState' | 'OPEN' | 'bufferedAmount'>;
  stream: Pick<Duplex, 'cork' | 'uncork'>;
  /** It does not read what is said to it, and would not read a word of goodbye either. */
  onUnread(): void;
}

export class SaidMessages {
  readonly #deps: SaidMessagesDeps;
  /** Said before the agent is ready: leases that are claimed the moment its session is. */
  readonly #early: string[] = [];
  #isReady = false;
  #corked = false;

  constructor(deps: SaidMessagesDeps) {
    this.#deps = deps;
  }

  get isReady(): boolean {
    return this.#isReady;
  }

  /** Says this first, and then what others had to say meanwhile. */
  begin(text: string): void {
    this.#isReady = true;
    this.#write(text);
    for (const early of this.#early.splice(0)) this.#write(early);
  }

  say(text: string): void {
    if (this.#isReady) this.#write(text);
    else this.#early.push(text);
  }

  #write(text: string): void {
    const { socket, stream, onUnread } = this.#deps;
    if (socket.readyState !== socket.OPEN) return;
    if (socket.bufferedAmount > maxUnreadBytes) {
      onUnread();
      return;
    }
    if (!this.#corked) {
      this.#corked = true;
      stream.cork();
      process.nextTick(() => {
        this.#corked = false;
        stream.uncork();
      });
    }
    socket.send(text);
  }
}
