// The history of a job: its versions, and the rows of the audit log about it.
import type { Queryable } from '../database/connection.ts';

export interface HistoryRow {
  /** In microseconds; with `place`, the sort key of the list. */
  atMicros: number;
  place: number;
  at: Date;
  by: string;
  /** `version`, or the action of an audit row. */
  action: string;
  version: number | null;
  restores: number | null;
  note: string;
  detail: Record<string, unknown>;
}

/** Returns rows older than the given key, newest first. A version stands for the audit row about saving it. */
export async function listJobHistory(
  sql: Queryable,
  jobId: number,
  actions: readonly string[],
  page: { before: readonly [number, number] | undefined; limit: number },
): Promise<HistoryRow[]> {
  const [atMicros, place] = page.before ?? [Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER];
  return sql<HistoryRow[]>`
    select * from (
      select (extract(epoch from v.created_at) * 1000000)::bigint as at_micros, v.version::bigint as place,
             v.created_at as at, coalesce(u.name, 'deleted user') as by, 'version' as action, v.version, v.restores,
             v.note, '{}'::jsonb as detail
        from job_versions v left join users u on u.id = v.created_by where v.job_id = ${jobId}
      union all
      select (extract(epoch from a.at) * 1000000)::bigint, a.id, a.at, a.actor_name, a.action,
             (a.detail->>'version')::int, null, coalesce(a.detail->>'note', ''), a.detail
        from audit_log a
       where a.object_kind = 'job' and a.object_id = ${String(jobId)} and a.action = any(${actions as string[]}::text[])
         -- A move is recorded once for the readers of each category; only the first row counts.
         and not exists (select from audit_log b where a.action = 'job.moved' and b.object_kind = 'job'
           and b.object_id = a.object_id and b.action = a.action and b.request_id = a.request_id
           and b.detail = a.detail and b.id < a.id and b.at > a.at - interval '1 minute')
    ) h
    where (h.at_micros, h.place) < (${atMicros}::bigint, ${place}::bigint)
    order by h.at_micros desc, h.place desc limit ${page.limit}`;
}
