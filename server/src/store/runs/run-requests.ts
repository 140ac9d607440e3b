// Runs by the request that started them.
import type { Queryable } from '../database/connection.ts';

export interface RequestedRun {
  runId: number;
  jobId: number;
  /** Wrapped by the master key. */
  dataKey: string;
  /** Of the request as it was sent. */
  digest: Buffer;
  /** Of its content; `null` if a server that did not write it started the run. */
  contentDigest: Buffer | null;
}

/** Returns the run that a request with this key has started. */
export async function findRequestedRun(db: Queryable, requestKey: Buffer): Promise<RequestedRun | undefined> {
  const [row] = await db<RequestedRun[]>`
    select id as run_id, job_id, data_key, request_digest as digest, request_content_digest as content_digest
    from job_runs where request_key = ${requestKey}`;
  return row;
}
