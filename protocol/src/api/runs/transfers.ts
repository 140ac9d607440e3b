// The files that a step has moved, and its progress while it moves them.
import { type Static, Type } from 'typebox';
import {
  TransferProgressSchema,
  TransferTotalsSchema,
  transferOperations,
  transferStatuses,
} from '../../agent/transfers.ts';
import { Closed, Id, Nullable, Timestamp } from '../schema-parts.ts';

export const TransferSchema = Type.Object({
  operation: Type.Enum(transferOperations),
  localPath: Nullable(Type.String({ description: 'Path on the agent' })),
  remotePath: Nullable(Type.String({ description: 'Path on the target' })),
  fileSize: Nullable(Type.Integer()),
  bytesTransferred: Type.Integer(),
  bytesPerSecond: Nullable(Type.Integer()),
  status: Type.Enum(transferStatuses, { description: '`planned`: only listed, by a dry run' }),
  startedAt: Nullable(Timestamp),
  completedAt: Nullable(Timestamp),
  errorMessage: Nullable(Type.String()),
});
export type Transfer = Static<typeof TransferSchema>;

export const StepTransfersQuerySchema = Closed({
  attempt: Type.Optional(
    Type.Integer({ minimum: 1, maximum: 2_147_483_647, description: 'Default: the newest' }),
  ),
});
export const StepTransfersSchema = Type.Object({
  attempt: Type.Integer(),
  totals: Nullable(TransferTotalsSchema),
  items: Type.Array(TransferSchema, {
    description: 'Failures first; at most 500, while `totals` counts all',
  }),
});
export type StepTransfers = Static<typeof StepTransfersSchema>;

/** SSE `event: transfer`: the progress of a running step. It has no id: a reader that misses one gets the next. */
export const TransferEventSchema = Type.Object({
  stepId: Id,
  attempt: Type.Integer(),
  progress: TransferProgressSchema,
});
export type TransferEvent = Static<typeof TransferEventSchema>;
