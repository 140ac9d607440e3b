// Finds the message by which PostgreSQL ends a connection, or refuses it. The driver keeps what was fatal until the
// connection is ready again, where a query ran on it or on the one before: that is on its next one, whose first query it
// would reject with it.
import { errorOf } from './extended-query.ts';

const errorResponse = 'E'.charCodeAt(0);
const readyForQuery = 'Z'.charCodeAt(0);
const headerBytes = 5;

export interface FatalMessage {
  /** As the driver's errors have it: the SQLSTATE is `code`; `detail` and `hint` are there where PostgreSQL says more. */
  said: Readonly<Record<string, string>>;
  /** Of the start: nobody was let in. */
  isRefusal: boolean;
}

/** Follows the messages of one connection (PostgreSQL protocol 3.0: a type, a length, a body). */
export class FatalWatch {
  /** The beginning of a message that is not whole yet, where it may be an error. */
  #held: Buffer = Buffer.alloc(0);
  /** So many bytes of a message are still to come. */
  #left = 0;
  /** Errors before it are of the start. */
  #hasBegun = false;

  /** Whether what was read so far ends with the end of a message. */
  get isBetweenMessages(): boolean {
    return this.#left === 0 && this.#held.length === 0;
  }

  /** What the driver is to be given of these bytes, and what ended the connection, if that is among them. */
  read(bytes: Buffer): { passed: Buffer; fatal?: FatalMessage } {
    const data = this.#held.length === 0 ? bytes : Buffer.concat([this.#held, bytes]);
    let at = Math.min(this.#left, data.length);
    this.#left -= at;
    while (at + headerBytes <= data.length) {
      const end = at + 1 + data.readUInt32BE(at + 1);
      if (data[at] === readyForQuery) this.#hasBegun = true;
      else if (data[at] === errorResponse) {
        if (end > data.length) break;
        const said = errorOf(data.subarray(at + headerBytes, end));
        if (isFatal(said))
          return { passed: data.subarray(0, at), fatal: { said, isRefusal: !this.#hasBegun } };
      }
      this.#left = Math.max(0, end - data.length);
      at = Math.min(end, data.length);
    }
    this.#held = Buffer.from(data.subarray(at));
    return { passed: data.subarray(0, at) };
  }
}

/** By the severity in no language, which servers have had since PostgreSQL 9.6. */
function isFatal({ severity, severity_local }: Readonly<Record<string, string>>): boolean {
  const said = severity ?? severity_local;
  return said === 'FATAL' || said === 'PANIC';
}
