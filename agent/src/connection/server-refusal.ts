// That the server has refused this agent, for `doctor` to tell: it does not connect itself, which would end the agent's connection.
import { rm, writeFile } from 'node:fs/promises';
import { closeCodes } from '@opsconductor/protocol';
import { readIfExists } from '../identity/durable-file.ts';
import type { SocketEnd } from './message-socket.ts';

export interface ServerRefusal {
  at: string;
  code: number;
  reason: string;
}

/** One thing after another is done to the file. A disk that does not take it keeps nothing else back. */
export class ServerRefusalFile {
  readonly #path: string;
  #work: Promise<void> = Promise.resolve();

  constructor(path: string) {
    this.#path = path;
  }

  /** Keeps how a connection has ended, where that was a refusal. */
  ended({ code, reason }: SocketEnd, now: Date): Promise<void> {
    if (code !== closeCodes.unauthenticated && code !== closeCodes.quarantined) return this.#work;
    const refusal: ServerRefusal = { at: now.toISOString(), code, reason };
    return this.#then(() => writeFile(this.#path, `${JSON.stringify(refusal)}\n`, { mode: 0o600 }));
  }

  /** The server has let this agent in. */
  forget(): Promise<void> {
    return this.#then(() => rm(this.#path, { force: true }));
  }

  #then(work: () => Promise<void>): Promise<void> {
    this.#work = this.#work.then(work).catch(() => undefined);
    return this.#work;
  }
}

export async function readRefusal(path: string): Promise<ServerRefusal | undefined> {
  const text = (await readIfExists(path))?.toString('utf8');
  try {
    return text === undefined ? undefined : (JSON.parse(text) as ServerRefusal);
  } catch {
    // Cut off while it was written: the next refusal is kept again.
    return undefined;
  }
}
