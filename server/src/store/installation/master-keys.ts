// Which master key the database is encrypted under, and which master keys the servers hold.
import type { Queryable, Tx } from '../database/connection.ts';

export interface ServerKeys {
  serverId: string;
  host: string;
  activeId: string;
  keyIds: string[];
}

/** A server that has not been heard from for this long is gone. */
const goneS = 30;

/** Records which keys a server holds. Returns the id of the key that should be active. */
export async function noteServerKeys(
  sql: Queryable,
  { serverId, host, activeId, keyIds }: ServerKeys,
): Promise<string | undefined> {
  await sql`
    insert into server_master_keys (server_id, host, active_id, key_ids) values (${serverId}, ${host}, ${activeId}, ${keyIds}::text[])
    on conflict (server_id) do update
    set active_id = excluded.active_id, key_ids = excluded.key_ids, seen_at = clock_timestamp()`;
  const [row] = await sql<{ masterKeyId: string }[]>`select master_key_id from installation`;
  return row?.masterKeyId;
}

/** Forgets which master keys a server that stops has had, and those of servers that were not seen for a day. */
export async function forgetServerKeys(sql: Queryable, serverId: string): Promise<void> {
  await sql`
    delete from server_master_keys
    where server_id = ${serverId} or seen_at < clock_timestamp() - interval '1 day'`;
}

/** Returns the keys of the running servers. */
export function liveServerKeys(sql: Queryable): Promise<ServerKeys[]> {
  return sql<ServerKeys[]>`
    select server_id, host, active_id, key_ids from server_master_keys
    where seen_at > clock_timestamp() - make_interval(secs => ${goneS}) order by host, server_id`;
}

/** Changes the active key. Returns false if another key than `from` was active. */
export async function setActiveKey(tx: Tx, { from, to }: { from: string; to: string }): Promise<boolean> {
  const result = await tx`update installation set master_key_id = ${to} where master_key_id = ${from}`;
  return result.count === 1;
}
