import type { ContentAnswer } from '@opsconductor/protocol';
import { TransferError } from '../sftp/tree/transfer-error.ts';

/** Returns a part of the server's answer. Throws the problem if the answer has one, or if the part is missing. */
export function requireAnswer<K extends 'file' | 'data' | 'artifact'>(
  { problem, ...answer }: ContentAnswer,
  part: K,
): NonNullable<ContentAnswer[K]> {
  if (problem !== undefined) throw new TransferError(problem);
  const value = (answer as ContentAnswer)[part];
  if (value !== undefined) return value;
  throw new TransferError({
    reason: 'transfer_failed',
    message: `The server answered without ${part}.`,
    advice: 'Update the agent, or the server, if their versions differ.',
  });
}
