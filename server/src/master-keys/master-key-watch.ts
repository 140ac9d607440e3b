// Keeps a running server's master keys up to date with the file and the database: within seconds and without a restart,
// the server holds a key that was added to the file and wraps with the key that was activated.
import { randomUUID } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import { readMasterKeys } from '../credentials/at-rest/master-key.ts';
import type { MasterKeyRing } from '../credentials/at-rest/master-key-ring.ts';
import type { Log } from '../log.ts';
import { Rounds } from '../rounds.ts';
import type { Sql } from '../store/database/connection.ts';
import { isDatabaseLost } from '../store/database/database-lost.ts';
import { forgetServerKeys, noteServerKeys } from '../store/installation/master-keys.ts';

const defaultPauseMs = 3_000;

export interface MasterKeyWatchDeps {
  sql: Sql;
  file: string;
  ring: MasterKeyRing;
  log: Pick<Log, 'info' | 'error'>;
  pauseMs?: number;
}

export class MasterKeyWatch {
  readonly #deps: MasterKeyWatchDeps;
  readonly #serverId = randomUUID();
  readonly #rounds: Rounds;
  /** Identifies the file's contents as last read. */
  #version = '';
  /** What is wrong, as it was logged: once, until it is over. */
  #complaint = '';
  #isWell = true;

  constructor(deps: MasterKeyWatchDeps) {
    this.#deps = deps;
    this.#rounds = new Rounds({ work: () => this.look(), pauseMs: deps.pauseMs ?? defaultPauseMs });
  }

  start(): void {
    this.#rounds.start();
  }

  async stop(): Promise<void> {
    await this.#rounds.stop();
    await forgetServerKeys(this.#deps.sql, this.#serverId).catch(() => undefined);
  }

  /** Checks the file and the database once. Never rejects: errors are logged, and the next check tries again. */
  async look(): Promise<void> {
    const { sql, ring, log } = this.#deps;
    this.#isWell = true;
    try {
      // A server that can't read its file continues with the keys it holds. It still announces them, as `activate` and
      // `retire` must know of them.
      const unread = await this.#readFile().then(
        () => undefined,
        (error: unknown) => ({ error }),
      );
      const keys = { serverId: this.#serverId, host: hostname(), activeId: ring.id, keyIds: ring.ids };
      const wanted = await noteServerKeys(sql, keys);
      if (wanted !== undefined && wanted !== ring.id) {
        if (ring.activate(wanted)) {
          log.info({ masterKeyId: wanted }, 'switched to the active master key');
          await noteServerKeys(sql, { ...keys, activeId: wanted });
        } else if (unread === undefined)
          this.#complain(
            `the database is under master key ${wanted}, which is not in ${this.#deps.file}; copy that file from a server that has the key`,
          );
      }
      if (unread !== undefined) throw unread.error;
    } catch (error) {
      if (isDatabaseLost(error))
        this.#complain('could not be compared with the database; this is retried every few seconds', error);
      else this.#complain(error instanceof Error ? error.message : String(error), error);
    }
    if (this.#isWell) this.#complaint = '';
  }

  async #readFile(): Promise<void> {
    const { file, ring, log } = this.#deps;
    const { mtimeMs, size, ino } = await stat(file);
    const version = `${mtimeMs} ${size} ${ino}`;
    if (version === this.#version) return;
    const masterKeys = await readMasterKeys(file);
    if (masterKeys === undefined) return;
    ring.hold(masterKeys);
    if (this.#version !== '') log.info({ masterKeyIds: ring.ids }, 'the master key file was read again');
    this.#version = version;
  }

  #complain(message: string, err?: unknown): void {
    this.#isWell = false;
    if (message === this.#complaint) return;
    this.#complaint = message;
    this.#deps.log.error({ ...(err === undefined ? {} : { err }) }, `master keys: ${message}`);
  }
}
