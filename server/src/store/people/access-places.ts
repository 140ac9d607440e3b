// Things that rights are asked about, and whether they lie within reaches: by the same conditions that guard the
// queries.
import type { Permission, PlaceKind } from '@opsconductor/protocol';
import type { Reach } from '../../auth/authority.ts';
import type { Queryable } from '../database/connection.ts';
import {
  type Condition,
  jobWithin,
  runWithin,
  segmentWithin,
  targetGroupWithin,
  targetWithin,
  wholeRunWithin,
} from './visibility.ts';

export interface Place {
  kind: PlaceKind;
  id: number;
}

export interface FoundPlace extends Place {
  name: string;
  /** Where it lies, in words: `category “general”`. */
  within: string;
  /** For each of the given lists of reaches, whether the permission holds there. */
  held: boolean[];
}

interface Source {
  /** The rows, as a FROM clause; `id` is the column of their id. */
  from: string;
  id: string;
  name: string;
  within: string;
  condition(sql: Queryable, reaches: readonly Reach[], permission: Permission): Condition;
}

/** For the alias `c`. A grant on a category above holds, too. */
const ofCategory = `'category “' || c.name || '”' || case when c.parent_id is null then '' else ' or one above it' end`;

const sources: Record<PlaceKind, Source> = {
  job: {
    from: 'jobs j join categories c on c.id = j.category_id and j.deleted_at is null',
    id: 'j.id',
    name: 'j.name',
    within: ofCategory,
    condition: (sql, reaches) => jobWithin(sql, reaches),
  },
  category: {
    from: 'categories c',
    id: 'c.id',
    name: 'c.name',
    within: ofCategory,
    condition: (sql, reaches) => jobWithin(sql, reaches, 'c.id'),
  },
  target: {
    from: 'targets t join segments s on s.id = t.segment_id',
    id: 't.id',
    name: 't.name',
    within: `'segment “' || s.name || '” or a target group that it is in'`,
    condition: (sql, reaches) => targetWithin(sql, reaches),
  },
  segment: {
    from: 'segments s',
    id: 's.id',
    name: 's.name',
    within: `'segment “' || s.name || '”'`,
    condition: (sql, reaches, permission) =>
      segmentWithin(sql, reaches, 's.id', { containing: permission === 'read' }),
  },
  target_group: {
    from: 'target_groups g',
    id: 'g.id',
    name: 'g.name',
    within: `'target group “' || g.name || '”'`,
    condition: (sql, reaches, permission) =>
      targetGroupWithin(sql, reaches, 'g.id', { containing: permission === 'read' }),
  },
  run: {
    from: 'job_runs r join jobs j on j.id = r.job_id join categories c on c.id = j.category_id',
    id: 'r.id',
    name: `'#' || r.id || ' of ' || j.name`,
    within: `'category “' || c.name || '” or its targets'`,
    condition: (sql, reaches, permission) => {
      if (permission === 'read') return runWithin(sql, reaches);
      return permission === 'run' ? wholeRunWithin(sql, reaches) : jobWithin(sql, reaches);
    },
  },
};

/**
 * Returns a thing within the asker's own reaches, and for each list of reaches whether the permission holds on it;
 * `undefined` if there is no such thing, or none that they may see.
 */
export async function findPlace(
  sql: Queryable,
  place: Place,
  asking: readonly Reach[],
  { permission, reachesOf }: { permission: Permission; reachesOf: readonly (readonly Reach[])[] },
): Promise<FoundPlace | undefined> {
  const source = sources[place.kind];
  const held = reachesOf
    .map((reaches) => source.condition(sql, reaches, permission))
    .reduce<Condition>((list, one) => sql`${list} || (${one})`, sql`'{}'::boolean[]`);
  const rows = await sql<{ name: string; within: string; held: boolean[] }[]>`
    select ${sql.unsafe(source.name)} as name, ${sql.unsafe(source.within)} as within, ${held} as held
    from ${sql.unsafe(source.from)}
    where ${sql.unsafe(source.id)} = ${place.id} and ${source.condition(sql, asking, 'read')}`;
  return rows[0] === undefined ? undefined : { ...place, ...rows[0] };
}
