// One connection of a hostile client: sends what it likes when it likes, reads or doesn't, and knows how it was ended.
import { connect, type Socket } from 'node:net';

/** How a connection went. */
export interface LineEnd {
  /** The status of the first answer, if there was one. */
  status: number | undefined;
  /** Time from its opening to its end; `undefined` if it was still open when the time was up. */
  endedMs: number | undefined;
}

export class Line {
  readonly socket: Socket;
  readonly ended: Promise<void>;
  #status: number | undefined;
  #endedMs: number | undefined;
  #dripping: NodeJS.Timeout | undefined;

  /** `reads`: `false` for one that reads nothing of what is sent to it. `from`: its own address. */
  constructor(
    port: number,
    { reads = true, from = '127.0.0.1' }: { reads?: boolean; from?: string | undefined } = {},
  ) {
    const openedMs = performance.now();
    this.socket = connect({ port, host: '127.0.0.1', localAddress: from });
    this.socket.setNoDelay(true);
    this.socket.on('error', () => undefined);
    if (reads) this.socket.on('data', (data) => this.#read(data));
    else this.socket.once('readable', () => undefined);
    this.ended = new Promise((resolve) => {
      this.socket.once('close', () => {
        clearInterval(this.#dripping);
        this.#endedMs = performance.now() - openedMs;
        resolve();
      });
    });
  }

  say(data: string | Uint8Array): void {
    if (this.socket.writable) this.socket.write(data);
  }

  /** Sends the piece repeatedly. */
  drip(piece: string | Uint8Array, everyMs: number): void {
    this.#dripping = setInterval(() => this.say(piece), everyMs);
  }

  /** Keeps sending the piece as fast as it is accepted. */
  pour(piece: Uint8Array): void {
    const more = () => {
      while (this.socket.writable && this.socket.write(piece));
    };
    this.socket.on('drain', more);
    more();
  }

  /** Ends the connection, unless the other side has. */
  end(): LineEnd {
    const end = { status: this.#status, endedMs: this.#endedMs };
    this.socket.destroy();
    return end;
  }

  #read(data: Buffer): void {
    if (this.#status !== undefined) return;
    const [, status] = /^HTTP\/1\.1 (\d{3})/.exec(data.subarray(0, 16).toString('latin1')) ?? [];
    if (status !== undefined) this.#status = Number(status);
  }
}
