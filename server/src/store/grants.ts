// The grants that a user has: their own and those of their user groups.
import type { Queryable } from './connection.ts';

/** The grants of the user `u` as JSON, for a select list. */
export function grantsColumn(sql: Queryable) {
  return sql.unsafe(`(select coalesce(jsonb_agg(jsonb_build_object('role', g.role, 'permission', g.permission, 'scope',
      case when g.category_id is not null then jsonb_build_object('kind', 'category', 'id', g.category_id)
           when g.segment_id is not null then jsonb_build_object('kind', 'segment', 'id', g.segment_id)
           when g.target_group_id is not null then jsonb_build_object('kind', 'target_group', 'id', g.target_group_id)
      end)), '[]')
    from role_grants g
    where g.user_id = u.id
       or g.user_group_id in (select m.user_group_id from user_group_members m where m.user_id = u.id))`);
}
