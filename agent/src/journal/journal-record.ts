// One line of the journal: the CRC-32 of the JSON text in eight hex digits, a space, the text. What the records mean
// for an attempt is in `replay.ts`.
import { crc32 } from 'node:zlib';
import {
  HandedOnSchema,
  LeaseSchema,
  type StepOutcome,
  StepOutcomeSchema,
  TakenOverSchema,
  TransferReportSchema,
} from '@opsconductor/protocol';
import { type Static, Type } from 'typebox';
import { Check } from 'typebox/value';
import { MachineTimeSchema } from '../timing/machine-time.ts';

const Step = Type.Integer({ minimum: 1 });
const Epoch = Type.Integer({ minimum: 1 });
const attempt = { step: Step, epoch: Epoch };

const JournalRecordSchema = Type.Union([
  /** The lease was delivered; nothing has begun. */
  Type.Object({ is: Type.Literal('leased'), ...attempt, leaseToken: Type.String() }),
  /** On disk before the target is touched. */
  Type.Object({
    is: Type.Literal('starting'),
    ...attempt,
    leaseToken: Type.String(),
    at: Type.String(),
    /** The same, for a command that outlives this process. */
    machineTime: Type.Optional(MachineTimeSchema),
    /** For a command that outlives this process: what it takes to find it again. The credential stays sealed. */
    survives: Type.Optional(LeaseSchema),
    /** The command began elsewhere and was taken over here. */
    takenOver: Type.Optional(TakenOverSchema),
  }),
  /** On disk before the completion is sent. `interrupted`: the process that began it is gone. */
  Type.Object({
    is: Type.Literal('finished'),
    ...attempt,
    requestId: Type.String(),
    interrupted: Type.Boolean(),
    outcome: StepOutcomeSchema,
    output: Type.Object({
      lastSeq: Type.Integer({ minimum: 0 }),
      rawBytes: Type.Integer({ minimum: 0 }),
      truncated: Type.Boolean(),
    }),
    /** Secret outputs are sealed. */
    handsOn: Type.Optional(Type.Record(Type.String(), HandedOnSchema)),
    transfers: Type.Optional(TransferReportSchema),
    /** What it takes to remove its output file from the target, of a command that did not outlive its process. */
    leaves: Type.Optional(LeaseSchema),
  }),
  /** Over: the server has the end, or the attempt never began and was handed back. */
  Type.Object({ is: Type.Literal('settled'), ...attempt }),
  /**
   * On disk before the step begins. Afterwards no earlier step begins under this grant, and this one no more often than
   * it may.
   */
  Type.Object({
    is: Type.Literal('granted'),
    nonce: Type.String(),
    target: Type.Integer({ minimum: 1 }),
    /** Number of the step in its job. */
    step: Type.Integer({ minimum: 1 }),
    /** The attempt that began it last, and how many attempts have; 0 if the first has not begun after all. */
    attempt: Type.String(),
    begins: Type.Integer({ minimum: 0 }),
    /** When the grant expires (ISO 8601). */
    until: Type.String(),
  }),
  /** What was begun under grants before this time is no longer known (ISO 8601). */
  Type.Object({ is: Type.Literal('grants_lost'), at: Type.String() }),
  /** The journal was lost or damaged before this line, and no server has been told yet. */
  Type.Object({ is: Type.Literal('damaged'), loss: Type.Optional(Type.String()) }),
  /** A server was told of the damage. */
  Type.Object({ is: Type.Literal('reconciled') }),
]);
export type JournalRecord = Static<typeof JournalRecordSchema>;
export type FinishedRecord = Extract<JournalRecord, { is: 'finished' }> & { outcome: StepOutcome };

/** Returns a record as a line of the journal: a checksum, the record as JSON, and a line end. */
export function encodeRecord(record: JournalRecord): string {
  const text = JSON.stringify(record);
  return `${checksum(text)} ${text}\n`;
}

/** Reads a line without its line end; undefined for one that is damaged. */
export function decodeRecord(line: string): JournalRecord | undefined {
  const text = line.slice(9);
  if (line[8] !== ' ' || line.slice(0, 8) !== checksum(text)) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  return Check(JournalRecordSchema, value) ? value : undefined;
}

function checksum(text: string): string {
  return crc32(text).toString(16).padStart(8, '0');
}
