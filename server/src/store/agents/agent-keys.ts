// An agent's own keys, and new keys that wait to replace them.
import type { Queryable, Tx } from '../database/connection.ts';

export interface KeyChangeRow {
  agentId: number;
  signingKey: Buffer;
  encryptionKey: Buffer;
  /** Base64, made with the key that the agent still uses. */
  signature: string;
  /** The segment keys that it has, wrapped for its new key. */
  wraps: { generation: number; wrapped: string }[];
}

/** Notes that the agent is to replace its keys, until it has done so. */
export async function wantNewKeys(tx: Tx, agentId: number): Promise<void> {
  await tx`update agents set new_keys_wanted_at = clock_timestamp() where id = ${agentId}`;
}

/** Records that the agent has its new keys, in use or waiting for a signature, so that it makes no others. */
export async function newKeysAreMade(tx: Tx, agentId: number): Promise<void> {
  await tx`update agents set new_keys_wanted_at = null where id = ${agentId} and new_keys_wanted_at is not null`;
}

/** Stores a key change that waits to be signed. Returns whether it differs from the one stored before. */
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

/** Returns the key changes of a segment's active agents, by agent. */
export async function listKeyChanges(sql: Queryable, segmentId: number): Promise<KeyChangeRow[]> {
  return sql<KeyChangeRow[]>`
    select c.agent_id, c.signing_key, c.encryption_key, c.signature, c.wraps
      from agent_key_changes c join agents a on a.id = c.agent_id
     where a.segment_id = ${segmentId} and a.state = 'active' order by c.agent_id`;
}

/** While somebody keeps trying an old key, the audit log records it once in this many seconds. */
const oldKeyAgainS = 60;

/** Records that somebody with a replaced key was refused. Returns whether this should be audited again. */
export async function noteOldKey(tx: Tx, agentId: number): Promise<boolean> {
  const rows = await tx`
    update agents set old_key_refused_at = clock_timestamp()
     where id = ${agentId} and (old_key_refused_at is null
       or old_key_refused_at < clock_timestamp() - make_interval(secs => ${oldKeyAgainS}))
    returning 1`;
  return rows.length > 0;
}

/** How often an agent can replace its keys within `keyChangesDays`. All its keys of that period are kept. */
const maxKeyChanges = 16;
const keyChangesDays = 14;
/** How many of an agent's keys from before that period are kept: those that were in use longest. */
const maxEarlierKeys = 16;

/** Whether the agent has not replaced its keys too often recently. */
export async function mayChangeKeys(tx: Tx, agentId: number): Promise<boolean> {
  const [row] = await tx<{ changes: number }[]>`
    select count(*)::int as changes from former_agent_keys
     where agent_id = ${agentId} and replaced_at > clock_timestamp() - make_interval(days => ${keyChangesDays})`;
  return (row?.changes ?? 0) < maxKeyChanges;
}

/** Whether the agent has replaced this key, as far as that is known. */
export async function isFormerKey(tx: Tx, agentId: number, signingKey: Buffer): Promise<boolean> {
  const rows = await tx`
    select from former_agent_keys where agent_id = ${agentId} and signing_key = ${signingKey}
    union all select from agents where id = ${agentId} and previous_signing_key = ${signingKey}`;
  return rows.length > 0;
}

/** Returns the agent's former keys, except the last one, which is in the agent's row. */
export async function formerKeys(tx: Tx, agentId: number): Promise<Buffer[]> {
  const rows = await tx<{ signingKey: Buffer }[]>`
    select f.signing_key from former_agent_keys f join agents a on a.id = f.agent_id
     where f.agent_id = ${agentId} and f.signing_key is distinct from a.previous_signing_key
     order by f.replaced_at desc`;
  return rows.map(({ signingKey }) => signingKey);
}

/**
 * Stores the key in use as a former key. Also stores the key before it, if a server of an earlier version did not; that
 * one was in use, at the earliest, since its own predecessor was replaced.
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
 * Replaces an agent's keys. Segment keys that were wrapped for the old key are replaced by the wraps that the agent has
 * made for the new one. Wraps that it has not said it opened are useless from now on, and its peers wrap those keys
 * again; but they are kept, since an agent that is revoked later may have opened them.
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
    update segment_key_wraps set wrapped_at = '-infinity'
     where agent_id = ${agentId} and opened_at is null and generation <> all(${renewed}::int[])`;
}
