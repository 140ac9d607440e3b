// What an import keeps of a file: definitions, and messages that may quote them, encrypted with the import's own data
// key.
import type {
  DefinitionChange,
  ImportChoice,
  ImportConflictReason,
  ImportFinding,
  ImportProblem,
} from '@opsconductor/protocol';
import { newDataKey, unwrapDataKey, wrapDataKey } from '../../credentials/at-rest/data-key.ts';
import type { MasterKey } from '../../credentials/at-rest/master-key.ts';
import { aadOf, openAtRest, sealAtRest } from '../../credentials/at-rest/seal-at-rest.ts';
import type { BundleEntry } from './reading/read-jobs.ts';

export interface SealedItem {
  entry: BundleEntry;
  changes: DefinitionChange[];
  conflict: { reason: ImportConflictReason; message: string } | null;
  choices: ImportChoice[];
  findings: ImportFinding[];
  /** Position of an earlier job of the file with the same name. */
  duplicateOf: number | null;
}

export interface SealedReport {
  problems: ImportProblem[];
  findings: ImportFinding[];
}

export class ImportSeal {
  readonly #importId: string;
  readonly #dataKey: Uint8Array;

  private constructor(importId: string, dataKey: Uint8Array) {
    this.#importId = importId;
    this.#dataKey = dataKey;
  }

  static make(masterKey: MasterKey, importId: string): { seal: ImportSeal; wrapped: string } {
    const dataKey = newDataKey();
    return {
      seal: new ImportSeal(importId, dataKey),
      wrapped: wrapDataKey(masterKey, dataKey, importKeyContext(importId)),
    };
  }

  static open(masterKey: MasterKey, importId: string, wrapped: string): ImportSeal {
    return new ImportSeal(importId, unwrapDataKey(masterKey, wrapped, importKeyContext(importId)));
  }

  sealItem(position: number, item: SealedItem): Buffer {
    return sealAtRest(this.#dataKey, Buffer.from(JSON.stringify(item)), this.#aadOf(position));
  }

  openItem(position: number, sealed: Buffer): SealedItem {
    return JSON.parse(openAtRest(this.#dataKey, sealed, this.#aadOf(position)).toString());
  }

  sealReport(report: SealedReport): Buffer {
    return sealAtRest(this.#dataKey, Buffer.from(JSON.stringify(report)), this.#aadOf(0));
  }

  openReport(sealed: Buffer | null): SealedReport {
    if (sealed === null) return { problems: [], findings: [] };
    return JSON.parse(openAtRest(this.#dataKey, sealed, this.#aadOf(0)).toString());
  }

  /** Items count from 1; 0 is the report. */
  #aadOf(position: number): Uint8Array {
    return aadOf('job_imports', this.#importId, position);
  }
}

/** Binds an import's wrapped key to that import. */
export function importKeyContext(importId: string): string {
  return `job-import/${importId}`;
}
