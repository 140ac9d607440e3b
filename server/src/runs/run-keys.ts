// Unwraps the data keys of runs and keeps those in use. Each key opens one run's output.
import { unwrapDataKey } from '../credentials/at-rest/data-key.ts';
import type { MasterKey } from '../credentials/at-rest/master-key.ts';
import { aadOf } from '../credentials/at-rest/seal-at-rest.ts';
import { notFound } from '../errors.ts';
import type { Queryable } from '../store/database/connection.ts';
import { dataKeyOfRun } from '../store/runs/run-creation.ts';

const maxKeys = 2_000;

export class RunKeys {
  readonly #masterKey: MasterKey;
  readonly #keys = new Map<number, Buffer>();

  constructor(masterKey: MasterKey) {
    this.#masterKey = masterKey;
  }

  /** Returns the run's data key. @throws {AppError} `not_found` if the run is gone. */
  async keyOf(db: Queryable, runId: number): Promise<Buffer> {
    const key = await this.findKey(db, runId);
    if (key === undefined) throw notFound(`Run ${runId}`);
    return key;
  }

  async findKey(db: Queryable, runId: number): Promise<Buffer | undefined> {
    const known = this.#keys.get(runId);
    if (known !== undefined) return known;
    const row = await dataKeyOfRun(db, runId);
    if (row === undefined) return undefined;
    const key = unwrapDataKey(this.#masterKey, row.dataKey, runKeyContext(row.jobId));
    this.remember(runId, key);
    return key;
  }

  /** Keeps the key of a run that this server has just created. */
  remember(runId: number, key: Buffer): void {
    if (this.#keys.size >= maxKeys) {
      const oldest = this.#keys.keys().next().value;
      if (oldest !== undefined) this.#keys.delete(oldest);
    }
    this.#keys.set(runId, key);
  }
}

/** Returns the context that binds a run's wrapped data key to its job. */
export function runKeyContext(jobId: number): string {
  return `run-of-job:${jobId}`;
}

/** Binds a stored chunk to its place: a row that was moved can't be opened. */
export function chunkAad(chunk: { stepId: number; epoch: number; seq: number }): Uint8Array {
  return aadOf('run-output', chunk.stepId, chunk.epoch, chunk.seq);
}
