// Collects what a step reports about its transfer, with secrets masked, since file names are stored and shown.
import type { TransferProgress, TransferReport, TransferRow } from '@opsconductor/protocol';
import type { Masking } from '../../masking/masking.ts';
import type { TransferSink } from '../../steps/step-type.ts';

export class TransferNotes implements TransferSink {
  readonly #secrets: Masking;
  /** Masks without counting: while a file is transferred its name is reported many times. */
  readonly #meanwhile: Masking;
  readonly #onProgress: (progress: TransferProgress) => void;
  #report: TransferReport | undefined;

  constructor(secrets: Masking, onProgress: (progress: TransferProgress) => void) {
    this.#secrets = secrets;
    this.#meanwhile = secrets.uncounted();
    this.#onProgress = onProgress;
  }

  get told(): { transfers?: TransferReport } {
    return this.#report === undefined ? {} : { transfers: this.#report };
  }

  progress(progress: TransferProgress): void {
    this.#onProgress({ ...progress, ...masked(this.#meanwhile, progress, ['current']) });
  }

  report({ totals, rows }: TransferReport): void {
    const shown = rows.map(
      (row): TransferRow => ({ ...row, ...masked(this.#secrets, row, ['localPath', 'remotePath', 'error']) }),
    );
    this.#report = { totals, rows: shown };
  }
}

function masked<T, K extends keyof T>(secrets: Masking, from: T, keys: readonly K[]): Partial<Pick<T, K>> {
  const shown: Partial<Pick<T, K>> = {};
  for (const key of keys) {
    const text = from[key];
    if (typeof text === 'string') shown[key] = secrets.text(text).slice(0, 1_000) as T[K];
  }
  return shown;
}
