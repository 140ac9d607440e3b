// An agent's own keys, and those that wait to take their place.
import type { Queryable, Tx } from '../database/connection.ts';

export interface KeyChangeRow {
  agentId: number;
  signingKey: Buffer;
  encryptionKey: Buffer;
  /** Base64, by the key that the agent still has. */
  signature: string;
  /** The segment keys that it has, for its new key. */
  wraps: { generation: number; wrapped: string }[];
}

export async function wantNewKeys(tx: Tx, agentId: number): Promise<void> {
  await tx`update agents set new_keys_wanted_at = clock_timestamp() where id = ${agentId}`;
}

/** They are there, in use or waiting for a signature: none are to be made. */
export async function newKeysAreMade(tx: Tx, agentId: number): Promise<void> {
  await tx`update agents set new_keys_wanted_at = null where id = ${agentId} and new_keys_wanted_at is not null`;
}

/** Keeps what waits to be signed. Returns whether it is another one than was kept before. */
export async function putKeyChange(tx: Tx, change: KeyChangeRow): Promise<boolean> {
  const { agentId, signingKey, encryptionKey, signature, wraps } = change;
  const rows = await tx`
    insert into agent_key_changes (agent_id, signing_key, encryption_key, signature, wraps)
    values (${agentId}, ${signingKey}, ${encryptionKey}, ${signature}, ${tx.json(wraps)})
    on conflict (agent_id) do update set signing_key = excluded.signing_key, encryption_key = excluded.encryption_key,
      signature = excluded.signature, wraps = excluded.wraps, offered_at = clock_timestamp()
      where (agent_key_changes.signing_key, agent_key_changes.encryption_key)
        is distinct from (excluded.signing_key, excluded.encryption_key)
    returning 1`;
  return rows.length > 0;
}

/** Those of agents of a segment that may be connected, by agent. */
export async function listKeyChanges(sql: Queryable, segmentId: number): Promise<KeyChangeRow[]> {
  return sql<KeyChangeRow[]>`
    select c.agent_id, c.signing_key, c.encryption_key, c.signature, c.wraps
      from agent_key_changes c join agents a on a.id = c.agent_id
     where a.segment_id = ${segmentId} and a.state = 'active' order by c.agent_id`;
}

/** While somebody tries an old key again and again, the audit log has it once in so long. */
const oldKeyAgainS = 60;

/** Notes that somebody was refused who has the key before. Returns whether that is to be told again. */
export async function noteOldKey(tx: Tx, agentId: number): Promise<boolean> {
  const rows = await tx`
    update agents set old_key_refused_at = clock_timestamp()
     where id = ${agentId} and (old_key_refused_at is null
       or old_key_refused_at < clock_timestamp() - make_interval(secs => ${oldKeyAgainS}))
    returning 1`;
  return rows.length > 0;
}

/** So often an agent can replace its keys within so many days. Its keys of those days are all kept. */
const maxKeyChanges = 16;
const keyChangesDays = 14;
/** Of the keys of an agent before these days: those that were in use longest. */
const maxEarlierKeys = 16;

/** Whether it has not replaced them too often of late. */
export async function mayChangeKeys(tx: Tx, agentId: number): Promise<boolean> {
  const [row] = await tx<{ changes: number }[]>`
    select count(*)::int as changes from former_agent_keys
     where agent_id = ${agentId} and replaced_at > clock_timestamp() - make_interval(days => ${keyChangesDays})`;
  return (row?.changes ?? 0) < maxKeyChanges;
}

/** Whether it is one that the agent has replaced, as far as that is known. */
export async function isFormerKey(tx: Tx, agentId: number, signingKey: Buffer): Promise<boolean> {
  const rows = await tx`
    select from former_agent_keys where agent_id = ${agentId} and signing_key = ${signingKey}
    union all select from agents where id = ${agentId} and previous_signing_key = ${signingKey}`;
  return rows.length > 0;
}

/** What it has had before, but for the last one, which its row has. */
export async function formerKeys(tx: Tx, agentId: number): Promise<Buffer[]> {
  const rows = await tx<{ signingKey: Buffer }[]>`
    select f.signing_key from former_agent_keys f join agents a on a.id = f.agent_id
     where f.agent_id = ${agentId} and f.signing_key is distinct from a.previous_signing_key
     order by f.replaced_at desc`;
  return rows.map(({ signingKey }) => signingKey);
}

/**
 * Keeps the key that is in use as a former one. The one before it, too, where a server of an earlier version kept none: it
 * was in use from when the one before it was replaced, at the earliest.
 */
async function keepFormerKeys(tx: Tx, agentId: number): Promise<void> {
  await tx`
    insert into former_agent_keys (agent_id, signing_key, used_since, replaced_at)
    select id, signing_key, coalesce(keys_changed_at, enrolled_at), clock_timestamp() from agents where id = ${agentId}
    union all
    select id, previous_signing_key,
           coalesce((select max(replaced_at) from former_agent_keys where agent_id = ${agentId}), enrolled_at),
           coalesce(keys_changed_at, clock_timestamp())
      from agents where id = ${agentId} and previous_signing_key is not null
    on conflict do nothing`;
  await tx`
    with earlier as (
      select signing_key, row_number() over (order by replaced_at - used_since desc, replaced_at) as place
        from former_agent_keys
       where agent_id = ${agentId} and replaced_at < clock_timestamp() - make_interval(days => ${keyChangesDays}))
    delete from former_agent_keys f using earlier e
     where f.agent_id = ${agentId} and f.signing_key = e.signing_key and e.place > ${maxEarlierKeys}`;
}

/**
 * Puts new keys in the place of an agent's. What was wrapped for those before is wrapped for the new, as far as the agent
 * has done so; what it never opened its peers wrap anew.
 */
export async function changeKeys(tx: Tx, change: Omit<KeyChangeRow, 'signature'>): Promise<void> {
  const { agentId, signingKey, encryptionKey, wraps } = change;
  await keepFormerKeys(tx, agentId);
  await tx`
    update agents set previous_signing_key = signing_key, signing_key = ${signingKey}, encryption_key = ${encryptionKey},
      keys_changed_at = clock_timestamp(), new_keys_wanted_at = null
    where id = ${agentId}`;
  await tx`delete from agent_key_changes where agent_id = ${agentId}`;
  await tx`
    update segment_key_wraps w set wrapped = n.wrapped, wrapped_at = clock_timestamp()
      from jsonb_to_recordset(${tx.json(wraps)}::jsonb) as n(generation int, wrapped text)
     where w.agent_id = ${agentId} and w.generation = n.generation`;
  const renewed = wraps.map(({ generation }) => generation);
  await tx`
    delete from segment_key_wraps
     where agent_id = ${agentId} and opened_at is null and generation <> all(${renewed}::int[])`;
}
