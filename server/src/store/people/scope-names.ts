// Names of scopes.
import type { NamedScope, Scope } from '@opsconductor/protocol';
import type { Queryable } from '../database/connection.ts';

/**
 * Returns an SQL expression for the name of a scope, null if it doesn't exist. `kind` and `id` are trusted SQL
 * expressions.
 */
export function scopeNameColumn(sql: Queryable, kind: string, id: string) {
  return sql.unsafe(`(case ${kind}
    when 'category' then (select name from categories where id = ${id})
    when 'segment' then (select name from segments where id = ${id})
    when 'target_group' then (select name from target_groups where id = ${id}) end)`);
}

/** Returns those of the scopes that exist, with names, in any order. */
export async function nameScopes(sql: Queryable, scopes: readonly Scope[]): Promise<NamedScope[]> {
  if (scopes.length === 0) return [];
  return sql<NamedScope[]>`
    select * from (select asked.kind, asked.id, ${scopeNameColumn(sql, 'asked.kind', 'asked.id')} as name
      from unnest(${scopes.map(({ kind }) => kind)}::text[], ${scopes.map(({ id }) => id)}::bigint[]) as asked(kind, id)
    ) named where name is not null`;
}
