// Records what the policy refused on the machine that refused it: a server that asks for more than it may can't hide
// that.
import { appendFile, rename, stat } from 'node:fs/promises';
import { readIfExists } from '../identity/durable-file.ts';
import type { Logger } from '../log.ts';
import type { Refusal } from './policy-guard.ts';

/** Largest size of the file. When it is full it is kept under `.1`, replacing an older one. */
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
    log.warn({ ...refusal }, 'refused: the policy file of this machine does not allow it');
    const line = `${JSON.stringify({ at: now().toISOString(), ...refusal })}\n`;
    this.#writing = this.#writing
      .then(() => this.#append(line))
      .catch((error: unknown) =>
        log.error(
          { err: error },
          'a refusal could not be written to policy-refusals.jsonl; it is only in this log',
        ),
      );
  }

  /** Resolves when everything noted so far is written. */
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

/** Returns how many refusals are recorded, and the line of the last one. */
export async function readRefusals(path: string): Promise<{ count: number; last: string } | undefined> {
  const lines = (await readIfExists(path))?.toString().trimEnd().split('\n') ?? [];
  const last = lines.at(-1);
  return last === undefined || last === '' ? undefined : { count: lines.length, last };
}
