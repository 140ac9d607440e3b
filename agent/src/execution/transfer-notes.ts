// What a step tells of its transfer, with what is secret of it masked: names of files are stored and shown.
import type { TransferProgress, TransferReport, TransferRow } from '@opsconductor/protocol';
import type { PatternSet } from '../spool/pattern-set.ts';
import { maskText } from '../spool/redactor.ts';
import type { TransferSink } from '../steps/step-type.ts';

export class TransferNotes implements TransferSink {
  readonly #secrets: PatternSet;
  readonly #onProgress: (progress: TransferProgress) => void;
  #report: TransferReport | undefined;

  constructor(secrets: PatternSet, onProgress: (progress: TransferProgress) => void) {
    this.#secrets = secrets;
    this.#onProgress = onProgress;
  }

  get told(): { transfers?: TransferReport } {
    return this.#report === undefined ? {} : { transfers: this.#report };
  }

  progress(progress: TransferProgress): void {
    this.#onProgress({ ...progress, ...this.#masked(progress, ['current']) });
  }

  report({ totals, rows }: TransferReport): void {
    const masked = rows.map(
      (row): TransferRow => ({ ...row, ...this.#masked(row, ['localPath', 'remotePath', 'error']) }),
    );
    this.#report = { totals, rows: masked };
  }

  #masked<T, K extends keyof T>(from: T, keys: readonly K[]): Partial<Pick<T, K>> {
    if (this.#secrets.maxBytes === 0) return {};
    const masked: Partial<Pick<T, K>> = {};
    for (const key of keys) {
      const text = from[key];
      if (typeof text === 'string') masked[key] = maskText(text, this.#secrets).slice(0, 1_000) as T[K];
    }
    return masked;
  }
}
