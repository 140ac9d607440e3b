// What an agent tells of a transfer: how far it is, and what it has come to. Names in it come from file systems, and are
// hostile like any output.
import { type Static, Type } from 'typebox';
import { limits } from '../limits.ts';

const Count = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
const Path = Type.String({ maxLength: 1_000 });

export const TransferTotalsSchema = Type.Object({
  /** Files that were not there before. */
  created: Count,
  /** Files that were replaced, or given other attributes. */
  changed: Count,
  /** Files that were left as they are. */
  unchanged: Count,
  /** Files, links and directories that the source did not have. */
  deleted: Count,
  failed: Count,
  /** Directories that were made. */
  directories: Count,
  /** Links that were made. */
  links: Count,
  /** Bytes of files that were moved. */
  bytes: Count,
});
export type TransferTotals = Static<typeof TransferTotalsSchema>;

export const transferOperations = ['upload', 'download', 'delete', 'link'] as const;
export const transferStatuses = ['completed', 'failed', 'planned'] as const;

export const TransferRowSchema = Type.Object({
  operation: Type.Enum(transferOperations),
  localPath: Type.Optional(Path),
  remotePath: Type.Optional(Path),
  fileSize: Type.Optional(Count),
  bytesTransferred: Count,
  /** `planned`: by a dry run. */
  status: Type.Enum(transferStatuses),
  startedAt: Type.Optional(Type.String({ maxLength: 40 })),
  completedAt: Type.Optional(Type.String({ maxLength: 40 })),
  error: Type.Optional(Type.String({ maxLength: 1_000 })),
});
export type TransferRow = Static<typeof TransferRowSchema>;

export const TransferReportSchema = Type.Object({
  totals: TransferTotalsSchema,
  /** Failures first, then others, up to a bound. */
  rows: Type.Array(TransferRowSchema, { maxItems: limits.maxTransferRows }),
});
export type TransferReport = Static<typeof TransferReportSchema>;

export const TransferProgressSchema = Type.Object({
  files: Count,
  bytes: Count,
  /** Of what is known so far; `isCounted` says whether that is all. */
  filesTotal: Count,
  bytesTotal: Count,
  isCounted: Type.Boolean(),
  /** Over the last seconds. */
  bytesPerSecond: Count,
  /** A file that is under way. */
  current: Type.Optional(Path),
});
export type TransferProgress = Static<typeof TransferProgressSchema>;
