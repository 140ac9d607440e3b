// Files that a step has moved, and how far it is while it does.
import { type Static, Type } from 'typebox';
import {
  TransferProgressSchema,
  TransferTotalsSchema,
  transferOperations,
  transferStatuses,
} from '../../agent/transfers.ts';
import { Closed, Id, Nullable, Timestamp } from '../common.ts';

export const TransferSchema = Type.Object({
  operation: Type.Enum(transferOperations),
  localPath: Nullable(Type.String({ description: 'On the agent' })),
  remotePath: Nullable(Type.String({ description: 'On the target' })),
  fileSize: Nullable(Type.Integer()),
  bytesTransferred: Type.Integer(),
  bytesPerSecond: Nullable(Type.Integer()),
  status: Type.Enum(transferStatuses, { description: '`planned`: by a dry run' }),
  startedAt: Nullable(Timestamp),
  completedAt: Nullable(Timestamp),
  errorMessage: Nullable(Type.String()),
});
export type Transfer = Static<typeof TransferSchema>;

export const StepTransfersQuerySchema = Closed({
  attempt: Type.Optional(
    Type.Integer({ minimum: 1, maximum: 2_147_483_647, description: 'The newest unless told' }),
  ),
});
export const StepTransfersSchema = Type.Object({
  attempt: Type.Integer(),
  totals: Nullable(TransferTotalsSchema),
  items: Type.Array(TransferSchema, {
    description: 'Failures first; 500 at most, while `totals` counts all',
  }),
});
export type StepTransfers = Static<typeof StepTransfersSchema>;

/** SSE `event: transfer`: how far a running step is. Without an id: who misses one gets the next. */
export const TransferEventSchema = Type.Object({
  stepId: Id,
  attempt: Type.Integer(),
  progress: TransferProgressSchema,
});
export type TransferEvent = Static<typeof TransferEventSchema>;
