// Keeps a job from having more open runs than its definition allows.
import { AppError } from '../../errors.ts';
import type { Tx } from '../../store/database/connection.ts';
import { boundLockWaits } from '../../store/database/transaction.ts';
import { lockJobForStart, openRunsOf } from '../../store/runs/run-creation.ts';

/**
 * Refuses a start if as many runs of the job are open as may be. Until the transaction ends, other starts that are limited
 * wait, so that two of them don't both find room.
 *
 * @param maxWaitMs how long it may wait for another start of the job. After that it fails with 55P03.
 * @throws {AppError} `conflict`, which names the open runs: whoever may start a run of a job may read all its runs.
 */
export async function requireRoomForRun(
  tx: Tx,
  { jobId, name, maxOpenRuns }: { jobId: number; name: string; maxOpenRuns: number | undefined },
  maxWaitMs: number,
): Promise<void> {
  if (maxOpenRuns === undefined) return;
  await boundLockWaits(tx, maxWaitMs);
  await lockJobForStart(tx, jobId);
  const open = await openRunsOf(tx, jobId, maxOpenRuns);
  if (open.length < maxOpenRuns) return;
  const told = open.slice(0, 10).join(', ');
  const more = open.length > 10 ? ` and ${open.length - 10} more` : '';
  throw new AppError(
    'conflict',
    open.length === 1
      ? `Job “${name}” may have one open run at a time (max_open_runs), and run ${told} is open: wait for its end, or cancel it.`
      : `Job “${name}” may have ${maxOpenRuns} open runs at a time (max_open_runs), and these are open: ${told}${more}. Wait for the end of one, or cancel one.`,
  );
}
