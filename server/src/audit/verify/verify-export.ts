// `audit verify --export`: checks an exported file, line by line. A whole log is verified like a database; for an
// excerpt, each row is shown to be in the log, but nothing can show what was left out.
import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import {
  CheckpointError,
  hashBytes,
  provesInclusion,
  type SignedCheckpoint,
  verifyCheckpoint,
} from '@opsconductor/protocol/audit';
import { type Static, Type } from 'typebox';
import { Check } from 'typebox/value';
import { hashRow, type SealedRow } from '../leaf.ts';
import { readRetentionNote } from '../sealing/retention.ts';
import { LogVerifier, verifyExternal } from './log-verifier.ts';
import type { VerifyOptions } from './verify-database.ts';

const Position = Type.Integer({ minimum: 0 });
const NullableText = Type.Union([Type.String(), Type.Null()]);
const NullableId = Type.Union([Type.Integer(), Type.Null()]);
const RowSchema = Type.Object({
  id: Type.Integer(),
  at: Type.String(),
  actorKind: Type.String(),
  actorId: NullableId,
  actorName: Type.String(),
  action: Type.String(),
  objectKind: NullableText,
  objectId: NullableText,
  detail: Type.Unknown(),
  address: NullableText,
  requestId: NullableText,
  segmentId: NullableId,
  categoryId: NullableId,
});
const HeadSchema = Type.Object({
  type: Type.Literal('export'),
  version: Type.Literal(1),
  kind: Type.Enum(['log', 'excerpt']),
  installationId: Type.String(),
  publicKey: Type.String(),
});
const LineSchema = Type.Union([
  Type.Object({
    type: Type.Literal('row'),
    position: Position,
    row: RowSchema,
    leafHash: Type.Optional(Type.String()),
    proof: Type.Optional(Type.Array(Type.String())),
  }),
  Type.Object({
    type: Type.Literal('removed'),
    position: Position,
    auditId: Type.Integer(),
    leafHash: Type.String(),
  }),
  Type.Object({ type: Type.Literal('checkpoint'), note: Type.String() }),
  Type.Object({ type: Type.Literal('retention'), note: Type.String() }),
  Type.Object({ type: Type.Literal('unsealed'), row: RowSchema }),
  Type.Object({ type: Type.Literal('end') }),
]);
type Line = Static<typeof LineSchema>;
export type ExportHead = Static<typeof HeadSchema>;

/** The file is not an export of an audit log. */
class NotAnExport extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'NotAnExport';
  }
}

/**
 * Reads the first line of an export.
 * @throws {NotAnExport}
 */
export async function readExportHead(file: string): Promise<ExportHead> {
  for await (const text of linesOf(file)) {
    const head = parse(text);
    if (Check(HeadSchema, head)) return head;
    break;
  }
  throw new NotAnExport(`${file} does not begin like an export of the audit log`);
}

/**
 * Reads an export and checks all that it proves. What is wrong is in the answer, as findings.
 * @throws if the file can’t be read, or is no export
 */
export async function verifyExport(file: string, options: VerifyOptions): Promise<LogVerifier> {
  const head = await readExportHead(file);
  const { external, findings } = await verifyExternal(options, options.notes);
  const verifier = new LogVerifier({ ...options, external, isExport: true });
  for (const finding of findings) verifier.find(finding);
  if (head.installationId !== options.installationId)
    verifier.find({ kind: 'malformed', message: `The export is of installation ${head.installationId}.` });
  const reader = new ExportReader(verifier, options, head.kind === 'excerpt');
  let number = 0;
  for await (const text of linesOf(file)) {
    number += 1;
    if (number > 1) await reader.line(parse(text), number);
  }
  reader.end();
  return verifier;
}

class ExportReader {
  readonly #verifier: LogVerifier;
  readonly #options: VerifyOptions;
  readonly #isExcerpt: boolean;
  #tree: SignedCheckpoint | undefined;
  /** Whether an excerpt's checkpoint was reported, so that its rows are known not to be proven. */
  #isTreeWrong = false;
  #unsealed = 0;
  #hasEnded = false;

  constructor(verifier: LogVerifier, options: VerifyOptions, isExcerpt: boolean) {
    this.#verifier = verifier;
    this.#options = options;
    this.#isExcerpt = isExcerpt;
  }

  async line(line: unknown, number: number): Promise<void> {
    if (!Check(LineSchema, line) || this.#hasEnded) {
      this.#verifier.find({ kind: 'malformed', message: `Line ${number} is not a line of an export.` });
    } else if (line.type === 'end') {
      this.#hasEnded = true;
    } else if (line.type === 'unsealed') {
      this.#unsealed += 1;
    } else if (this.#isExcerpt) {
      await this.#excerptLine(line);
    } else {
      await this.#logLine(line);
    }
  }

  end(): void {
    const verifier = this.#verifier;
    if (!this.#hasEnded) verifier.find({ kind: 'truncated', message: 'The file is truncated.' });
    if (this.#unsealed > 0)
      verifier.remarks.push(
        this.#unsealed === 1
          ? '1 row was not sealed yet when it was exported: it is not proven.'
          : `${this.#unsealed} rows were not sealed yet when they were exported: they are not proven.`,
      );
    if (!this.#isExcerpt) verifier.end();
    else
      verifier.remarks.push(
        'This is an excerpt: that a row is in the log is proven, that none was left out is not.',
      );
  }

  async #logLine(line: Line): Promise<void> {
    const verifier = this.#verifier;
    if (line.type === 'checkpoint') {
      await verifier.checkpoint(line.note);
    } else if (line.type === 'retention') {
      const below = await readRetentionNote(this.#options, line.note);
      if (below === undefined)
        verifier.find({
          kind: 'checkpoint',
          message: 'A note of retention is not signed by the installation.',
        });
      else verifier.retainedBelow = Math.max(verifier.retainedBelow, below);
    } else if (line.type === 'removed') {
      const { position, auditId } = line;
      verifier.place({ position, auditId, leafHash: bytesOf(line.leafHash), row: undefined });
    } else if (line.type === 'row') {
      const { position } = line;
      const row = line.row as SealedRow;
      verifier.place({ position, auditId: row.id, leafHash: bytesOf(line.leafHash), row });
    }
  }

  async #excerptLine(line: Line): Promise<void> {
    const verifier = this.#verifier;
    if (line.type === 'checkpoint') {
      this.#tree = await this.#readTree(line.note);
      this.#isTreeWrong ||= this.#tree === undefined;
    } else if (line.type === 'row' && this.#tree === undefined) {
      verifier.rows += 1;
      if (!this.#isTreeWrong)
        verifier.find({
          kind: 'malformed',
          message: `Row ${line.row.id} comes before any checkpoint, which an export never writes: nothing proves it.`,
          auditId: line.row.id,
        });
    } else if (line.type === 'row' && this.#tree !== undefined) {
      const { position, row, proof = [] } = line;
      const tree = { size: this.#tree.size, root: this.#tree.rootHash };
      verifier.rows += 1;
      if (!provesInclusion(hashRow(row as SealedRow), position, tree, proof.map(bytesOf)))
        verifier.find({
          kind: 'altered',
          message: `Row ${row.id} is not at position ${position} of the log as checkpoint ${this.#tree.number} signed it: it was altered, or is not from this log.`,
          auditId: row.id,
        });
    }
  }

  async #readTree(note: string): Promise<SignedCheckpoint | undefined> {
    const { publicKey, installationId } = this.#options;
    try {
      const checkpoint = await verifyCheckpoint(publicKey, installationId, note);
      this.#verifier.last = checkpoint;
      return checkpoint;
    } catch (error) {
      if (!(error instanceof CheckpointError)) throw error;
      this.#verifier.find({
        kind: 'checkpoint',
        message: `The export’s checkpoint is not valid: ${error.message}.`,
      });
      return undefined;
    }
  }
}

function linesOf(file: string): AsyncIterable<string> {
  return createInterface({ input: createReadStream(file), crlfDelay: Number.POSITIVE_INFINITY });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function bytesOf(base64: string | undefined): Buffer {
  const bytes = Buffer.from(base64 ?? '', 'base64');
  return bytes.length === hashBytes ? bytes : Buffer.alloc(hashBytes);
}
