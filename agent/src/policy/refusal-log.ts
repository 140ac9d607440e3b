// What the policy refused, on the machine that refused it: a server that asks for what it may not have can't keep it quiet.
import { appendFile, rename, stat } from 'node:fs/promises';
import { readIfExists } from '../identity/durable-file.ts';
import type { Logger } from '../log.ts';
import type { Refusal } from './policy-guard.ts';

/** Of the file; it is kept once more under `.1` when it is full. */
const maxBytes = 5 * 1024 * 1024;

export interface RefusalLogOptions {
  path: string;
  log: Pick<Logger, 'warn' | 'error'>;
  now?: () => Date;
  maxBytes?: number;
}

export class RefusalLog {
  readonly #options: RefusalLogOptions;
  #writing: Promise<void> = Promise.resolve();

  constructor(options: RefusalLogOptions) {
    this.#options = options;
  }

  note(refusal: Refusal): void {
    const { log, now = () => new Date() } = this.#options;
    log.warn({ ...refusal }, 'refused by the policy of this machine');
    const line = `${JSON.stringify({ at: now().toISOString(), ...refusal })}\n`;
    this.#writing = this.#writing
      .then(() => this.#append(line))
      .catch((error: unknown) => log.error({ err: error }, 'a refusal could not be written down'));
  }

  /** Resolves when all is written that was noted. */
  written(): Promise<void> {
    return this.#writing;
  }

  async #append(line: string): Promise<void> {
    const { path, maxBytes: most = maxBytes } = this.#options;
    const { size } = await stat(path).catch(() => ({ size: 0 }));
    if (size + Buffer.byteLength(line) > most) await rename(path, `${path}.1`).catch(() => undefined);
    await appendFile(path, line, { mode: 0o600 });
  }
}

/** How many are kept, and the last one's line. */
export async function readRefusals(path: string): Promise<{ count: number; last: string } | undefined> {
  const lines = (await readIfExists(path))?.toString().trimEnd().split('\n') ?? [];
  const last = lines.at(-1);
  return last === undefined || last === '' ? undefined : { count: lines.length, last };
}
