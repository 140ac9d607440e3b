// Finds the message with which PostgreSQL ends or refuses a connection. If a query was running on this connection or
// the one before, the driver keeps a fatal error until a connection is ready again. That is the next connection, and
// the driver would reject its first query with the old error.
import { errorOf } from './extended-query.ts';

const errorResponse = 'E'.charCodeAt(0);
const readyForQuery = 'Z'.charCodeAt(0);
const headerBytes = 5;

export interface FatalMessage {
  /**
   * The fields that the driver's errors have: the SQLSTATE is `code`; `detail` and `hint` are there if PostgreSQL says
   * more.
   */
  said: Readonly<Record<string, string>>;
  /** It came during startup: the login was refused. */
  isRefusal: boolean;
}

/** Follows the messages of one connection (PostgreSQL protocol 3.0: a type, a length, a body). */
export class FatalWatch {
  /** The beginning of an incomplete message, if it may be an error. */
  #held: Buffer = Buffer.alloc(0);
  /** How many bytes of the current message are still to come. */
  #left = 0;
  /** Whether startup is over; errors before that belong to it. */
  #hasBegun = false;

  /** Whether what was read so far ends at the end of a message. */
  get isBetweenMessages(): boolean {
    return this.#left === 0 && this.#held.length === 0;
  }

  /** Returns the bytes to pass to the driver, and the message that ended the connection if it is among them. */
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

/** Checks the unlocalized severity, which servers have sent since PostgreSQL 9.6. */
function isFatal({ severity, severity_local }: Readonly<Record<string, string>>): boolean {
  const said = severity ?? severity_local;
  return said === 'FATAL' || said === 'PANIC';
}
