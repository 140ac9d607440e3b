// Lists the attempts of a step, including the live one.

import type { Attempt } from '@opsconductor/protocol';
import type { Authority } from '../../auth/authority.ts';
import { notFound } from '../../errors.ts';
import type { Sql } from '../../store/database/connection.ts';
import {
  type AttemptRecord,
  listAttempts as readAttempts,
} from '../../store/queue/attempts/step-attempts.ts';
import { findStepOutput } from '../../store/runs/runs.ts';
import { howItEnded } from '../how-it-ended.ts';

const iso = (date: Date | null): string | null => date?.toISOString() ?? null;

/** @throws {AppError} `not_found` if the step belongs to another run or may not be seen. */
export async function listAttempts(
  sql: Sql,
  ref: { runId: number; stepId: number },
  authority: Authority,
): Promise<Attempt[]> {
  const [step] = await findStepOutput(sql, ref.runId, [ref.stepId], authority.reach('read'));
  if (step === undefined) throw notFound(`Step ${ref.stepId} of run ${ref.runId}`);
  return (await readAttempts(sql, ref.stepId)).map((row, index) => attemptView(row, index + 1));
}

function attemptView(row: AttemptRecord, number: number): Attempt {
  return {
    attempt: row.epoch,
    number,
    status: row.status,
    agentName: row.agentName,
    leasedAt: iso(row.leasedAt),
    startedAt: iso(row.startedAt),
    endedAt: iso(row.endedAt),
    ...howItEnded(row),
    message: row.message,
    advice: row.advice,
    survivors: row.survivors ?? [],
    detections: row.detections ?? [],
    outputState: row.outputState,
    outputBytes: row.outputBytes,
    late:
      row.lateStatus === null || row.lateAt === null
        ? null
        : { status: row.lateStatus, at: row.lateAt.toISOString() },
    decision:
      row.decision === null || row.decidedAt === null
        ? null
        : {
            decision: row.decision,
            note: row.decisionNote ?? '',
            by: row.decidedBy ?? 'deleted user',
            at: row.decidedAt.toISOString(),
          },
    cleanUp:
      row.cleanUpState === null
        ? null
        : {
            state: row.cleanUpState,
            ...(row.cleanUpDue === null ? {} : { due: row.cleanUpDue.toISOString() }),
            found: row.found,
            survivors: row.foundSurvivors ?? [],
            at: iso(row.toldAt),
          },
  };
}
