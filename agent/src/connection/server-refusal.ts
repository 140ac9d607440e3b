// Records that the server has refused this agent, or this agent the server, so that `doctor` can report it. `doctor`
// does not connect itself, because that would end the agent's connection.
import { rm, writeFile } from 'node:fs/promises';
import { closeCodes } from '@opsconductor/protocol';
import { readIfExists } from '../identity/durable-file.ts';
import { HandshakeError } from './handshake.ts';
import type { SocketEnd } from './message-socket.ts';
import { explainClose } from './open-socket.ts';

export interface ServerRefusal {
  at: string;
  /** Which side did not accept the other. */
  by: 'server' | 'agent';
  code: number;
  reason: string;
}

/** Works on the file one operation at a time. A failing disk holds nothing else up. */
export class ServerRefusalFile {
  readonly #path: string;
  #work: Promise<void> = Promise.resolve();

  constructor(path: string) {
    this.#path = path;
  }

  /** Records how a connection ended, if that was a refusal. */
  ended(end: SocketEnd, now: Date): Promise<void> {
    const told = refusalOf(end);
    if (told === undefined) return this.#work;
    const refusal: ServerRefusal = { at: now.toISOString(), ...told };
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

/** Returns undefined if neither side refused the other. */
export function refusalOf({
  code,
  reason,
  byServer,
  error,
}: SocketEnd): Omit<ServerRefusal, 'at'> | undefined {
  if (error instanceof HandshakeError) return { by: 'agent', code: error.closeCode, reason: error.message };
  const isRefused = code === closeCodes.unauthenticated || code === closeCodes.quarantined;
  return byServer && isRefused ? { by: 'server', code, reason } : undefined;
}

/** Returns what happened and what to do about it. */
export function explainRefusal({ at, by, code, reason }: ServerRefusal): { what: string; fix: string } {
  if (by !== 'agent') {
    return { what: `the server refused this agent last, at ${at}.`, fix: explainClose(code, reason) };
  }
  const advice =
    code === closeCodes.unauthenticated
      ? ' Check that the address leads to the server that this machine was enrolled at. Only if that server was set up again and its keys are lost, enroll this machine again ("enroll --force").'
      : '';
  return { what: `this agent refused the server last, at ${at}.`, fix: `${reason}${advice}` };
}

/** Returns the refusal that was recorded last; undefined if there is none, or if writing it was cut off. */
export async function readRefusal(path: string): Promise<ServerRefusal | undefined> {
  const text = (await readIfExists(path))?.toString('utf8');
  try {
    return text === undefined ? undefined : (JSON.parse(text) as ServerRefusal);
  } catch {
    // The write was cut off. The next refusal is recorded again.
    return undefined;
  }
}
