// What an agent reports about a transfer: its progress and its result. File names in it come from file systems, and are
// untrusted like any output.
import { type Static, Type } from 'typebox';
import { limits } from '../limits.ts';

const Count = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
const Path = Type.String({ maxLength: 1_000 });

export const TransferTotalsSchema = Type.Object({
  /** Files that did not exist before. */
  created: Count,
  /** Files that were replaced, or whose attributes were changed. */
  changed: Count,
  /** Files that were left unchanged. */
  unchanged: Count,
  /** Files, links and directories that the source did not have. */
  deleted: Count,
  failed: Count,
  /** Directories that were created. */
  directories: Count,
  /** Links that were created. */
  links: Count,
  /** Bytes of files that were transferred. */
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
  /** `planned`: only listed, by a dry run. */
  status: Type.Enum(transferStatuses),
  startedAt: Type.Optional(Type.String({ maxLength: 40 })),
  completedAt: Type.Optional(Type.String({ maxLength: 40 })),
  error: Type.Optional(Type.String({ maxLength: 1_000 })),
});
export type TransferRow = Static<typeof TransferRowSchema>;

export const TransferReportSchema = Type.Object({
  totals: TransferTotalsSchema,
  /** Failures first, then others, up to a limit. */
  rows: Type.Array(TransferRowSchema, { maxItems: limits.maxTransferRows }),
});
export type TransferReport = Static<typeof TransferReportSchema>;

export const TransferProgressSchema = Type.Object({
  files: Count,
  bytes: Count,
  /** Totals known so far; `isCounted` says whether they are final. */
  filesTotal: Count,
  bytesTotal: Count,
  isCounted: Type.Boolean(),
  /** Averaged over the last seconds. */
  bytesPerSecond: Count,
  /** A file that is being transferred. */
  current: Type.Optional(Path),
});
export type TransferProgress = Static<typeof TransferProgressSchema>;
