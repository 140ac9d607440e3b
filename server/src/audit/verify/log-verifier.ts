// Checks the sealed log against its checkpoints, row by row, whether it comes from the database or an export. It trusts
// nothing but the public key; the stored hashes only help to name the row that is wrong.
import {
  CheckpointError,
  Frontier,
  type SignedCheckpoint,
  verifyCheckpoint,
} from '@opsconductor/protocol/audit';
import { hashRow, type SealedRow } from '../leaf.ts';

export type FindingKind =
  | 'altered'
  | 'removed'
  | 'inserted'
  | 'replaced'
  | 'checkpoint'
  | 'truncated'
  | 'forked'
  | 'malformed';

export interface Finding {
  kind: FindingKind;
  message: string;
  /** Id of the wrong row, if one can be named. */
  auditId?: number;
}

/** A place in the log: the id of its row, and the row itself if it still exists. */
export interface Place {
  position: number;
  auditId: number;
  /** The hash that is stored with the row. */
  leafHash: Uint8Array;
  row: SealedRow | undefined;
}

export interface LogVerifierOptions {
  publicKey: Uint8Array;
  installationId: string;
  /** Verified checkpoints that were kept elsewhere. */
  external: readonly SignedCheckpoint[];
  /** Whether a file of some time ago is read, and not the current log. */
  isExport?: boolean;
  /** Returns the stored tree at a size, to continue from after a wrong place; undefined if there is none. */
  frontierAt?(size: number): Promise<Frontier | undefined>;
}

/** A row is remarked on if it is dated at least this long before the sealing of the checkpoint before its own. */
const lateMs = 15 * 60_000;
const maxNamedRows = 20;

export class LogVerifier {
  readonly findings: Finding[] = [];
  /** What is unusual but proves nothing. */
  readonly remarks: string[] = [];
  rows = 0;
  /** Rows below this position may be gone, by a signed note of retention. */
  retainedBelow = 0;
  removedByRetention = 0;
  last: SignedCheckpoint | undefined;
  readonly #options: LogVerifierOptions;
  readonly #externalBySize = new Map<number, SignedCheckpoint[]>();
  /** Undefined while it can't be known, after missing or wrong places. */
  #frontier: Frontier | undefined = new Frontier();
  #size = 0;
  /** Ids of the rows since the last checkpoint. */
  #sinceCheckpoint: number[] = [];
  #isLostSince: number | undefined;

  constructor(options: LogVerifierOptions) {
    this.#options = options;
    for (const checkpoint of options.external) {
      const list = this.#externalBySize.get(checkpoint.size) ?? [];
      this.#externalBySize.set(checkpoint.size, [...list, checkpoint]);
    }
  }

  /** The checkpoints kept elsewhere that the log is compared with. */
  get external(): readonly SignedCheckpoint[] {
    return this.#options.external;
  }

  /** Takes the next place, in order of positions. */
  place(place: Place): void {
    if (place.position !== this.#size) {
      this.#find(
        'removed',
        `No row is at positions ${this.#size} to ${place.position - 1}: their seals are gone.`,
      );
      this.#frontier = undefined;
      this.#size = place.position;
    }
    this.#frontier?.append(this.#hashOf(place));
    this.#size += 1;
    this.#sinceCheckpoint.push(place.auditId);
    this.#compareExternal();
  }

  /** Takes a checkpoint, after the places that it covers. */
  async checkpoint(note: string): Promise<void> {
    const checkpoint = await this.#read(note);
    if (checkpoint === undefined) return;
    this.#checkChain(checkpoint);
    if (checkpoint.size !== this.#size) {
      this.#find(
        'removed',
        `Checkpoint ${checkpoint.number} covers ${checkpoint.size} rows; there are ${this.#size} places up to it.`,
      );
      this.#frontier = undefined;
      this.#size = checkpoint.size;
    }
    await this.#compareRoot(checkpoint);
    this.#sinceCheckpoint = [];
    this.last = checkpoint;
  }

  /** Finishes the check. Call it last. */
  end(): void {
    const covered = this.last?.size ?? 0;
    if (this.#size > covered)
      this.#find(
        'truncated',
        `The rows from position ${covered} on (${named(this.#sinceCheckpoint)}) have seals, but the checkpoints that covered them are gone.`,
      );
    for (const checkpoint of this.#options.external) {
      if (checkpoint.size <= this.#size) continue;
      this.#find(
        'truncated',
        `The log ends after ${this.#size} rows. Checkpoint ${checkpoint.number} of ${checkpoint.sealedAt}, kept elsewhere, covers ${checkpoint.size}: ${checkpoint.size - this.#size === 1 ? 'the last one was' : `the last ${checkpoint.size - this.#size} were`} cut off, or the whole database is from an earlier time.${this.#options.isExport ? ' Or it was exported before that checkpoint: export again, and compare.' : ''}`,
      );
    }
  }

  /** Adds a finding that only the source can make. */
  find(finding: Finding): void {
    this.findings.push(finding);
  }

  #hashOf({ position, auditId, leafHash, row }: Place): Uint8Array {
    if (row === undefined) {
      if (position < this.retainedBelow) this.removedByRetention += 1;
      else this.#find('removed', `Row ${auditId}, at position ${position}, was removed.`, auditId);
      return leafHash;
    }
    this.rows += 1;
    this.#remarkLate(row);
    if (row.id !== auditId)
      this.#find('replaced', `At position ${position} is row ${row.id} instead of row ${auditId}.`, auditId);
    if (!hashRow(row).equals(leafHash))
      this.#find(
        'altered',
        `Row ${auditId}, at position ${position}, was altered after it was sealed.`,
        auditId,
      );
    return leafHash;
  }

  async #read(note: string): Promise<SignedCheckpoint | undefined> {
    const { publicKey, installationId } = this.#options;
    try {
      return await verifyCheckpoint(publicKey, installationId, note);
    } catch (error) {
      if (!(error instanceof CheckpointError)) throw error;
      const after = this.last?.number ?? 0;
      this.#find('checkpoint', `The checkpoint after number ${after} is not valid: ${error.message}.`);
      return undefined;
    }
  }

  #checkChain(checkpoint: SignedCheckpoint): void {
    const expected = (this.last?.number ?? 0) + 1;
    if (checkpoint.number !== expected) {
      this.#find('checkpoint', `Checkpoint ${expected} is missing; the next is ${checkpoint.number}.`);
    } else if (this.last !== undefined && !checkpoint.previousHash.equals(this.last.hash)) {
      this.#find(
        'forked',
        `Checkpoint ${checkpoint.number} does not follow checkpoint ${this.last.number} as it is here.`,
      );
    }
  }

  /** Compares the computed root with the signed one; after a difference, continues from the stored tree. */
  async #compareRoot(checkpoint: SignedCheckpoint): Promise<void> {
    if (this.#frontier?.root.equals(checkpoint.rootHash)) return;
    const wasKnown = this.#frontier !== undefined;
    if (wasKnown)
      this.#find(
        'altered',
        `The rows that checkpoint ${checkpoint.number} sealed at ${checkpoint.sealedAt} are not the ones that are here: ${named(this.#sinceCheckpoint)}.`,
        this.#sinceCheckpoint.length === 1 ? this.#sinceCheckpoint[0] : undefined,
      );
    const stored = await this.#options.frontierAt?.(checkpoint.size);
    this.#frontier = stored?.root.equals(checkpoint.rootHash) ? stored : undefined;
    if (this.#frontier === undefined) {
      this.#isLostSince ??= checkpoint.number;
    } else if (this.#isLostSince !== undefined) {
      this.remarks.push(
        `From checkpoint ${this.#isLostSince} to ${checkpoint.number} rows could only be compared with their own seals, as the stored tree is damaged there.`,
      );
      this.#isLostSince = undefined;
    }
  }

  #compareExternal(): void {
    for (const checkpoint of this.#externalBySize.get(this.#size) ?? []) {
      const where = `checkpoint ${checkpoint.number} of ${checkpoint.sealedAt}, kept elsewhere`;
      if (this.#frontier === undefined)
        this.remarks.push(`The ${where}, could not be compared: the log is damaged before it.`);
      else if (!this.#frontier.root.equals(checkpoint.rootHash))
        this.#find(
          'forked',
          `The first ${checkpoint.size} rows are not the ones that ${where}, covers: the log was rewritten, or the database was rolled back and written to again.`,
        );
    }
  }

  #remarkLate(row: SealedRow): void {
    if (this.last === undefined || Date.parse(row.at) > Date.parse(this.last.sealedAt) - lateMs) return;
    this.remarks.push(
      `Row ${row.id} is dated ${row.at}, long before it was sealed (after ${this.last.sealedAt}): it was written late, or backdated.`,
    );
  }

  #find(kind: FindingKind, message: string, auditId?: number): void {
    this.findings.push({ kind, message, ...(auditId === undefined ? {} : { auditId }) });
  }
}

/** Verifies checkpoints that were kept elsewhere. One that is not from this installation becomes a finding. */
export async function verifyExternal(
  options: Pick<LogVerifierOptions, 'publicKey' | 'installationId'>,
  notes: readonly { file: string; note: string }[],
): Promise<{ external: SignedCheckpoint[]; findings: Finding[] }> {
  const external: SignedCheckpoint[] = [];
  const findings: Finding[] = [];
  for (const { file, note } of notes) {
    try {
      external.push(await verifyCheckpoint(options.publicKey, options.installationId, note));
    } catch (error) {
      if (!(error instanceof CheckpointError)) throw error;
      findings.push({ kind: 'checkpoint', message: `${file}: ${error.message}.` });
    }
  }
  return { external, findings };
}

function named(auditIds: readonly number[]): string {
  const shown = auditIds.slice(0, maxNamedRows).join(', ');
  const more = auditIds.length - maxNamedRows;
  return `rows ${shown === '' ? 'none' : shown}${more > 0 ? ` and ${more} more` : ''}`;
}
