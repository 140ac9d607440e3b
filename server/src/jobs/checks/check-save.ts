// Says whether a definition could be saved, and with which messages, without saving it. It uses the checks and the
// wording of a save.
import {
  type DefinitionProblem,
  type ErrorDetail,
  effectiveDefinition,
  type JobDefinition,
  maxDefinitionProblems,
  type ValidateJobReply,
  ValidateJobRequestSchema,
} from '@opsconductor/protocol';
import type { Caller } from '../../caller.ts';
import type { Sql } from '../../store/database/connection.ts';
import { inTransaction } from '../../store/database/transaction.ts';
import { examineInTurn } from '../definition/examine-in-turn.ts';
import { findEditableJob } from '../editable-job.ts';
import { checkEnvelope } from './check-envelope.ts';
import { problemsOfNamesIn, problemsOfPlace } from './problems-of-place.ts';

export interface CheckDeps {
  sql: Sql;
  /** The default for jobs that do not set `detect_secrets`; false unless set. */
  detectsSecrets?: boolean;
}

interface Asked {
  definition: unknown;
  jobId?: number | undefined;
  note?: string | undefined;
}

/**
 * @throws {AppError} `invalid` for what surrounds the definition; `not_found` and `forbidden` for a job that the caller
 * may not see or change.
 */
export async function checkSave(
  { sql, detectsSecrets = false }: CheckDeps,
  request: unknown,
  caller: Caller,
): Promise<ValidateJobReply> {
  const { definition: given, jobId, note = '' } = readRequest(request);
  const { definition, problems } = await examineInTurn(caller.userId, given);
  const valid = problems.length === 0;
  const there = await inTransaction(sql, async (tx): Promise<DefinitionProblem[]> => {
    const job = jobId === undefined ? undefined : await findEditableJob(tx, jobId, caller);
    const place = { job, note };
    if (valid) return problemsOfPlace(tx, definition as JobDefinition, place, caller);
    return (await problemsOfNamesIn(tx, definition, problems, place, caller)).map(asError);
  });
  const all = [...problems.slice(0, maxDefinitionProblems).map(asError), ...there];
  return {
    valid: !all.some(({ severity }) => severity === 'error'),
    problems: all,
    ...(valid
      ? effectiveDefinition(definition as JobDefinition, { detect_secrets: detectsSecrets })
      : { definition: null, defaults: [] }),
  };
}

function readRequest(request: unknown): Asked {
  const has = (name: string) => Object.hasOwn(Object(request), name);
  return has('definition') && !has('steps')
    ? checkEnvelope(ValidateJobRequestSchema, request)
    : { definition: request };
}

function asError(detail: ErrorDetail): DefinitionProblem {
  return { ...detail, severity: 'error' };
}
