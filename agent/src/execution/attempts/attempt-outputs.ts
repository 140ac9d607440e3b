// Creates the outputs of attempts, each with a spool file on this machine's disk.
import { join } from 'node:path';
import type { StoredOutput } from '@opsconductor/protocol';
import type { Logger } from 'pino';
import { attemptKey } from '../../journal/replay.ts';
import { AttemptOutput } from '../../spool/attempt-output.ts';
import { SpareFile } from '../../spool/spare-file.ts';
import { type SpooledChunk, SpoolFile } from '../../spool/spool-file.ts';
import type { Disk } from '../disk.ts';

export interface AttemptOutputsOptions {
  spoolFolder: string;
  /** On the same file system as `spoolFolder`. */
  spareSpool: string;
  disk: Pick<Disk, 'outputRefused'>;
  /** Called when the output has more to be sent. */
  onStored(output: AttemptOutput): void;
  monotonicMs(): number;
  log: Logger;
}

export class AttemptOutputs {
  readonly #options: AttemptOutputsOptions;
  readonly #spareSpool: SpareFile;

  constructor(options: AttemptOutputsOptions) {
    this.#options = options;
    this.#spareSpool = new SpareFile(options.spareSpool);
  }

  /** Creates the output of an attempt that is new on this machine. */
  create(attempt: { step: number; epoch: number }, before?: StoredOutput): AttemptOutput {
    const path = join(this.#options.spoolFolder, attemptKey(attempt));
    return this.goOn(attempt, SpoolFile.create(path, this.#spareSpool), [], before);
  }

  /** Continues an output after these chunks in the file and after what another agent has read. */
  goOn(
    { step, epoch }: { step: number; epoch: number },
    file: SpoolFile,
    recovered: readonly SpooledChunk[] = [],
    before?: StoredOutput,
  ): AttemptOutput {
    const { log, monotonicMs, disk, onStored } = this.#options;
    const output: AttemptOutput = new AttemptOutput(
      {
        step,
        epoch,
        file,
        monotonicMs,
        before,
        onStored: () => onStored(output),
        onStorageFailure: (error) => {
          log.error(
            { err: error, step, epoch },
            'output of this attempt could not be written to the disk; the rest of it is lost, and the command keeps running',
          );
          disk.outputRefused(error);
        },
      },
      recovered,
    );
    return output;
  }

  /** Stops making spool files in advance. */
  close(): Promise<void> {
    return this.#spareSpool.remove();
  }
}
