// Creates the outputs of attempts, each with a spool file on this machine's disk.
import { join } from 'node:path';
import type { Lease } from '@opsconductor/protocol';
import type { Logger } from 'pino';
import { attemptKey } from '../../journal/replay.ts';
import { AttemptOutput } from '../../spool/attempt-output.ts';
import { SpareFiles } from '../../spool/spare-files.ts';
import { Spool } from '../../spool/spool.ts';
import type { SpoolBase, SpooledChunk } from '../../spool/spool-file.ts';
import type { Disk } from '../disk.ts';
import { hasPrintedOutputs } from '../step/step-outputs.ts';

export interface AttemptOutputsOptions {
  spoolFolder: string;
  /** On the same file system as `spoolFolder`. */
  spareSpool: string;
  disk: Pick<Disk, 'outputRefused' | 'measure'>;
  /** Called when the output has more to be sent. */
  onStored(output: AttemptOutput): void;
  /** Called when the disk is full. Resolves with whether it is worth trying again. */
  makeRoom(): Promise<boolean>;
  monotonicMs(): number;
  log: Logger;
}

/** What an output begins with, and what it is needed for. */
export interface OutputPlan {
  /** What the server has already, from another agent or from this one. */
  base?: SpoolBase | undefined;
  /** Chunks in the spool, which come after that. */
  recovered?: readonly SpooledChunk[];
  /** Whether the ends of the streams are looked at after the command. */
  keepsEnds: boolean;
}

export class AttemptOutputs {
  readonly #options: AttemptOutputsOptions;
  readonly #spareSpools: SpareFiles;

  constructor(options: AttemptOutputsOptions) {
    this.#options = options;
    this.#spareSpools = new SpareFiles(options.spareSpool);
  }

  /**
   * Creates the output of an attempt that is new on this machine.
   *
   * @param base what the server has already, from another agent.
   */
  create(lease: Lease, base?: SpoolBase): AttemptOutput {
    const path = join(this.#options.spoolFolder, attemptKey(lease));
    const spool = Spool.create(path, { spares: this.#spareSpools, base });
    return this.goOn(lease, spool, { base, keepsEnds: hasPrintedOutputs(lease) });
  }

  /** Continues an output after what is in the spool. */
  goOn(
    { step, epoch }: { step: number; epoch: number },
    spool: Spool,
    { base, recovered, keepsEnds }: OutputPlan,
  ): AttemptOutput {
    const { log, monotonicMs, disk, onStored, makeRoom } = this.#options;
    const output: AttemptOutput = new AttemptOutput(
      {
        step,
        epoch,
        spool,
        monotonicMs,
        base,
        keepsEnds,
        onStored: () => onStored(output),
        onMuchStored: () => void disk.measure(),
        makeRoom,
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

  /** Removes the spare spool files. */
  close(): Promise<void> {
    return this.#spareSpools.remove();
  }
}
