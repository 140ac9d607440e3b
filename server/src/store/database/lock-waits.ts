// Statements of servers that wait for a lock which somebody else's session holds.
import { applicationName, type Queryable } from './connection.ts';

/** A session that keeps others waiting. What this role may not see of it is `null`. */
export interface LockHolder {
  /** 0: a prepared transaction, which belongs to no process. */
  pid: number;
  user: string | null;
  application: string | null;
  /** Such as `idle in transaction`. */
  state: string | null;
  transactionSince: Date | null;
}

export interface LockWaits {
  holders: LockHolder[];
  /** How many statements have waited for long, of all servers. */
  statements: number;
  longestMs: number;
}

/**
 * Returns who holds what statements of servers have waited for for `leastMs`; `undefined` if nobody does. Who waits for
 * a lock is no holder, though others wait behind it. Sessions of servers are left out: they end by themselves.
 */
export async function readLockWaits(sql: Queryable, leastMs: number): Promise<LockWaits | undefined> {
  const rows = await sql<(LockHolder & { statements: number; longestMs: number })[]>`
    with recursive waiting as materialized (
      select a.pid, clock_timestamp() - min(l.waitstart) as since
        from pg_locks l join pg_stat_activity a on a.pid = l.pid
       where not l.granted and a.datname = current_database() and a.application_name = ${applicationName}
         and l.waitstart <= clock_timestamp() - make_interval(secs => ${leastMs / 1_000})
       group by a.pid
    ), chain (pid, held_by) as (
      select w.pid, b.pid from waiting w, unnest(pg_blocking_pids(w.pid)) b (pid)
      union
      select c.held_by, b.pid from chain c, unnest(pg_blocking_pids(c.held_by)) b (pid)
    ), holders as (
      select held_by as pid from chain except select pid from chain
    )
    select h.pid, a.usename as "user", a.application_name as application, a.state,
           a.xact_start as "transactionSince", w.statements, w.longest as "longestMs"
      from holders h left join pg_stat_activity a on a.pid = h.pid,
           (select count(*) as statements, (extract(epoch from max(since)) * 1000)::float8 as longest from waiting) w
     where a.application_name is distinct from ${applicationName}
     order by h.pid`;
  const [first] = rows;
  if (first === undefined) return undefined;
  const { statements, longestMs } = first;
  return {
    holders: rows.map(({ pid, user, application, state, transactionSince }) => ({
      pid,
      user,
      application,
      state,
      transactionSince,
    })),
    statements,
    longestMs,
  };
}
