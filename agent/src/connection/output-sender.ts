// Sends the output of all attempts over one connection, in turn, within the window of unacknowledged bytes and without
// filling the socket: control messages are sent at once and never wait behind much output.
import { limits } from '@opsconductor/protocol';
import type { AttemptOutput } from '../spool/attempt-output.ts';
import type { MessageSocket } from './message-socket.ts';

const maxBufferedBytes = 1024 * 1024;

export interface OutputSenderOptions {
  socket: MessageSocket;
  /** Called when everything that an attempt has stored so far was sent. */
  onCaughtUp(output: AttemptOutput): void;
  /** Called when a chunk could not be read back from disk. */
  onReadFailure(output: AttemptOutput, error: unknown): void;
  windowBytes?: number;
}

export class OutputSender {
  readonly #options: OutputSenderOptions;
  readonly #windowBytes: number;
  /** Attempts with something to send, the next one first. */
  readonly #waiting = new Set<AttemptOutput>();
  #inFlightBytes = 0;
  #pumping = false;

  constructor(options: OutputSenderOptions) {
    this.#options = options;
    this.#windowBytes = options.windowBytes ?? limits.outputWindowBytes;
  }

  /** Called when an attempt has something to send, or wants to be told that it has not. */
  offer(output: AttemptOutput): void {
    this.#waiting.add(output);
    if (!this.#pumping) void this.#pump();
  }

  /** Frees this many bytes of the window. */
  release(bytes: number): void {
    this.#inFlightBytes -= bytes;
    if (!this.#pumping) void this.#pump();
  }

  forget(output: AttemptOutput): void {
    this.#waiting.delete(output);
  }

  /** Never rejects: a read failure is passed to its callback. */
  async #pump(): Promise<void> {
    const { socket } = this.#options;
    this.#pumping = true;
    socket.cork();
    try {
      for (;;) {
        const output = this.#next();
        if (output === undefined) return;
        const frame = output.takeFrame();
        if (frame instanceof Promise) {
          socket.uncork();
          const read = await this.#read(output, frame);
          socket.cork();
          if (read !== undefined) this.#send(read);
        } else this.#send(frame);
      }
    } finally {
      socket.uncork();
      this.#pumping = false;
    }
  }

  /** Returns the attempt whose turn it is, if it may send. Attempts that have nothing left are told so. */
  #next(): AttemptOutput | undefined {
    for (const output of this.#waiting) {
      if (!output.hasUnsent) {
        this.#waiting.delete(output);
        this.#options.onCaughtUp(output);
        continue;
      }
      if (!this.#mayEnter(output.nextFrameBytes)) return undefined;
      // Back to the end of the line.
      this.#waiting.delete(output);
      this.#waiting.add(output);
      return output;
    }
    return undefined;
  }

  #mayEnter(bytes: number): boolean {
    const { socket } = this.#options;
    if (!socket.open || socket.bufferedBytes >= maxBufferedBytes) return false;
    return this.#inFlightBytes === 0 || this.#inFlightBytes + bytes <= this.#windowBytes;
  }

  #send(frame: Buffer): void {
    this.#inFlightBytes += frame.length;
    this.#options.socket.sendFrame(frame, () => {
      if (!this.#pumping && this.#waiting.size > 0) void this.#pump();
    });
  }

  async #read(output: AttemptOutput, frame: Promise<Buffer>): Promise<Buffer | undefined> {
    try {
      return await frame;
    } catch (error) {
      this.#waiting.delete(output);
      this.#options.onReadFailure(output, error);
      return undefined;
    }
  }
}
