// Columns of a list that tell with which session or API token each was made.
import type { MadeWith } from '@opsconductor/protocol';
import type { Queryable } from '../database/connection.ts';
import type { AsOf } from './people.ts';
import { isOpen } from './sessions.ts';
import type { Condition } from './visibility.ts';

/** The columns, for `makerOf`. They need `joinMaker`. */
export function makerColumns(sql: Queryable, { now, session }: AsOf) {
  return sql`m.maker_kind, m.maker_id, m.maker_name, m.maker_begun,
    (select u.name from users u where u.id = m.maker_user_id) as maker_user,
    case m.maker_kind
      when 'session' then not exists (select from sessions s where s.id = m.maker_id and ${isOpen(sql, now, session)})
      else not exists (select from api_tokens k where k.id = m.maker_id
        and (k.expires_at is null or k.expires_at > ${now})) end as maker_ended`;
}

/** The join for `makerColumns`. `id` is the thing's, as trusted SQL. */
export function joinMaker(sql: Queryable, kind: 'api_token' | 'enrollment_token', id: string): Condition {
  return sql`left join made_with m on m.kind = ${kind} and m.id = ${sql.unsafe(id)}
    and m.maker_kind in ('session', 'api_token')`;
}

export interface MakerColumns {
  makerKind: MadeWith['kind'] | null;
  makerId: number | null;
  makerName: string | null;
  makerBegun: Date | null;
  makerUser: string | null;
  makerEnded: boolean;
}

/** Returns what the columns tell, for an answer. */
export function makerOf(row: MakerColumns): MadeWith | null {
  if (row.makerKind === null || row.makerId === null) return null;
  return {
    kind: row.makerKind,
    id: row.makerId,
    user: row.makerUser,
    name: row.makerName,
    begunAt: row.makerBegun?.toISOString() ?? null,
    hasEnded: row.makerEnded,
  };
}
