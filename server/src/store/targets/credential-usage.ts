// Which targets, groups, segments and jobs use a credential, as far as the reader may see them.
import type { Reach } from '../../auth/authority.ts';
import type { Queryable } from '../database/connection.ts';
import { jobWithin, targetGroupWithin, targetWithin } from '../people/visibility.ts';

export interface Users {
  total: number;
  items: { id: number; name: string }[];
}

export interface CredentialUsageRows {
  targets: Users;
  groups: Users;
  segment: boolean;
  jobs: Users;
}

/**
 * Returns what uses a credential.
 *
 * @param most how many of each kind are named; all are counted.
 */
export async function readCredentialUsage(
  sql: Queryable,
  credential: { id: string; name: string },
  most: number,
  reaches: readonly Reach[],
): Promise<CredentialUsageRows> {
  const { id, name } = credential;
  const [targets, groups, jobs, segments] = await Promise.all([
    sql<Named[]>`
      select t.id, t.name, count(*) over ()::int as total from targets t
       where t.credential_id = ${id} and ${targetWithin(sql, reaches)}
       order by t.name, t.id limit ${most}`,
    sql<Named[]>`
      select g.id, g.name, count(*) over ()::int as total
        from target_group_credentials c join target_groups g on g.id = c.target_group_id
       where c.credential_id = ${id} and ${targetGroupWithin(sql, reaches)}
       order by g.name, g.id limit ${most}`,
    sql<Named[]>`
      select j.id, j.name, count(*) over ()::int as total
        from jobs j join job_versions v on v.job_id = j.id and v.version = j.version
       where v.step_credentials is not null and ${name} = any(v.step_credentials || v.run_as_credentials)
         and j.deleted_at is null and ${jobWithin(sql, reaches)}
       order by j.name, j.id limit ${most}`,
    sql`select 1 from segments where credential_id = ${id}`,
  ]);
  return {
    targets: usersOf(targets),
    groups: usersOf(groups),
    segment: segments.length > 0,
    jobs: usersOf(jobs),
  };
}

interface Named {
  id: number;
  name: string;
  total: number;
}

function usersOf(rows: readonly Named[]): Users {
  return { total: rows[0]?.total ?? 0, items: rows.map(({ id, name }) => ({ id, name })) };
}
