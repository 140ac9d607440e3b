// Sends messages to one agent: nothing before its resume is answered, the messages of one turn in one write, and no
// more than it reads.
import type { Duplex } from 'node:stream';
import type { WebSocket } from 'ws';

/** Bytes sent to an agent that its connection hasn't taken: as many as leases for all its slots may come to at once. */
const maxUnreadBytes = 64 * 1024 * 1024;

export interface SaidMessagesDeps {
  socket: Pick<WebSocket, 'send' | 'readyState' | 'OPEN' | 'bufferedAmount'>;
  stream: Pick<Duplex, 'cork' | 'uncork'>;
  /** Called if the agent doesn't read what it is sent. It would not read a close either. */
  onUnread(): void;
}

export class SaidMessages {
  readonly #deps: SaidMessagesDeps;
  /** Messages from before the agent is ready, such as leases that are claimed the moment its session is. */
  readonly #early: string[] = [];
  #earlyCharacters = 0;
  #isReady = false;
  #corked = false;

  constructor(deps: SaidMessagesDeps) {
    this.#deps = deps;
  }

  get isReady(): boolean {
    return this.#isReady;
  }

  /** Sends this first, and then the messages that have been waiting. */
  begin(text: string): void {
    this.#isReady = true;
    this.#write(text);
    for (const early of this.#early.splice(0)) this.#write(early);
  }

  say(text: string): void {
    if (this.#isReady) this.#write(text);
    else this.#keep(text);
  }

  /** An agent that never says what it holds is answered nothing, and could have answers kept here without end. */
  #keep(text: string): void {
    const { socket, onUnread } = this.#deps;
    if (socket.readyState !== socket.OPEN) return;
    this.#earlyCharacters += text.length;
    if (this.#earlyCharacters > maxUnreadBytes) {
      this.#early.length = 0;
      onUnread();
      return;
    }
    this.#early.push(text);
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
