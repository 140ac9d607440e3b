import type { Queryable, Tx } from '../database/connection.ts';

export interface HostKeyRow {
  targetId: number;
  fingerprint: string;
  keyType: string;
  publicKey: string | null;
  state: 'accepted' | 'pending' | 'changed';
  seenAt: Date;
  acceptedAt: Date | null;
  acceptedByName: string | null;
  source: HostKeySource;
}

export type HostKeySource = 'connection' | 'scan' | 'known_hosts';

/** Returns host keys of these targets, accepted ones first, then the newest. */
export async function listHostKeys(sql: Queryable, targetIds: readonly number[]): Promise<HostKeyRow[]> {
  if (targetIds.length === 0) return [];
  return sql<HostKeyRow[]>`
    select k.target_id, k.fingerprint, k.key_type, k.public_key, k.state, k.seen_at, k.accepted_at,
           u.name as accepted_by_name,
           k.source
      from target_host_keys k left join users u on u.id = k.accepted_by
     where k.target_id = any(${[...targetIds]}::bigint[])
     order by k.target_id, k.state <> 'accepted', k.seen_at desc, k.fingerprint`;
}

/** Returns accepted keys: as OpenSSH lines, or as fingerprints if no connection has shown the key yet. */
export async function listAcceptedLines(
  sql: Queryable,
  targetIds: readonly number[],
): Promise<{ targetId: number; line: string }[]> {
  if (targetIds.length === 0) return [];
  return sql<{ targetId: number; line: string }[]>`
    select target_id, coalesce(public_key, fingerprint) as line from target_host_keys
     where target_id = any(${[...targetIds]}::bigint[]) and state = 'accepted'
     order by target_id, fingerprint`;
}

/** Accepts a fingerprint that is known from elsewhere, before any connection has shown its key. */
export async function insertGivenFingerprint(
  tx: Tx,
  key: { targetId: number; fingerprint: string; acceptedBy: number },
): Promise<void> {
  await tx`
    insert into target_host_keys (target_id, fingerprint, key_type, state, accepted_at, accepted_by)
    values (${key.targetId}, ${key.fingerprint}, 'unknown', 'accepted', clock_timestamp(), ${key.acceptedBy})`;
}

/** Completes an accepted row with the key that a connection has now shown. */
export async function completeAcceptedKey(
  tx: Tx,
  key: { targetId: number; fingerprint: string; keyType: string; publicKey: string },
): Promise<void> {
  await tx`
    update target_host_keys
       set key_type = ${key.keyType}, public_key = ${key.publicKey}, seen_at = clock_timestamp()
     where target_id = ${key.targetId} and fingerprint = ${key.fingerprint} and state = 'accepted'`;
}

/** Keeps only the last unaccepted key that a target has shown, so that an impostor can't fill the table. */
export async function replaceOfferedKey(
  tx: Tx,
  key: {
    targetId: number;
    fingerprint: string;
    keyType: string;
    publicKey: string;
    state: 'pending' | 'changed';
  },
): Promise<{ replacesRecent: boolean }> {
  const replaced = await tx<{ isRecent: boolean }[]>`
    delete from target_host_keys
     where target_id = ${key.targetId} and state <> 'accepted' and fingerprint <> ${key.fingerprint}
    returning state = ${key.state} and seen_at > clock_timestamp() - interval '1 minute' as is_recent`;
  await tx`
    insert into target_host_keys ${tx(key, 'targetId', 'fingerprint', 'keyType', 'publicKey', 'state')}
    on conflict (target_id, fingerprint) do update set state = excluded.state, seen_at = clock_timestamp()`;
  return { replacesRecent: replaced.some(({ isRecent }) => isRecent) };
}

/** Forgets the changed keys of these targets, because they have shown an accepted key again. */
export async function forgetChangedKeys(sql: Queryable, targetIds: readonly number[]): Promise<void> {
  await sql`
    delete from target_host_keys where target_id = any(${[...targetIds]}::bigint[]) and state = 'changed'`;
}

/** Makes one key the accepted one and deletes every other key of the target. */
export async function acceptOnly(
  tx: Tx,
  key: { targetId: number; fingerprint: string; acceptedBy: number },
): Promise<void> {
  await tx`delete from target_host_keys where target_id = ${key.targetId} and fingerprint <> ${key.fingerprint}`;
  await tx`
    update target_host_keys
       set state = 'accepted', accepted_at = clock_timestamp(), accepted_by = ${key.acceptedBy}
     where target_id = ${key.targetId} and fingerprint = ${key.fingerprint}`;
}

/** Forgets every key of a target, for example when it becomes another host. Returns the accepted fingerprints. */
export async function deleteHostKeys(tx: Tx, targetId: number): Promise<string[]> {
  const rows = await tx<{ fingerprint: string; state: string }[]>`
    delete from target_host_keys where target_id = ${targetId} returning fingerprint, state`;
  return rows.filter((row) => row.state === 'accepted').map((row) => row.fingerprint);
}

export interface NewAcceptedKey {
  targetId: number;
  fingerprint: string;
  keyType: string;
  publicKey: string;
}

/**
 * Accepts these keys in addition to those already accepted. Unaccepted keys that the targets have shown are deleted.
 * For targets whose keys are to be replaced, all their other keys are deleted as well.
 */
export async function acceptKeys(
  tx: Tx,
  keys: readonly NewAcceptedKey[],
  by: { userId: number; source: HostKeySource; replacedTargetIds?: readonly number[] },
): Promise<void> {
  if (keys.length === 0) return;
  const json = tx.json(keys as never);
  await tx`
    delete from target_host_keys h
    using (select distinct "targetId" from jsonb_to_recordset(${json}::jsonb) as k("targetId" bigint)) k
    where h.target_id = k."targetId"
      and (h.state <> 'accepted' or h.target_id = any(${[...(by.replacedTargetIds ?? [])]}::bigint[]))`;
  await tx`
    insert into target_host_keys
      (target_id, fingerprint, key_type, public_key, state, accepted_at, accepted_by, source)
    select k."targetId", k.fingerprint, k."keyType", k."publicKey", 'accepted', clock_timestamp(), ${by.userId}, ${by.source}
    from jsonb_to_recordset(${json}::jsonb)
      as k("targetId" bigint, fingerprint text, "keyType" text, "publicKey" text)
    on conflict (target_id, fingerprint) do nothing`;
}

/** Returns the name of the first of these targets that has more accepted keys than a lease may contain. */
export async function tooManyKeys(
  tx: Tx,
  targetIds: readonly number[],
  limit: number,
): Promise<string | undefined> {
  const [row] = await tx<{ name: string }[]>`
    select t.name from targets t where t.id = any(${[...targetIds]}::bigint[]) and (
      select count(*) from target_host_keys h where h.target_id = t.id and h.state = 'accepted') > ${limit}
    order by t.name limit 1`;
  return row?.name;
}

/** Removes an accepted key from all targets of a segment. Returns the targets that had it. */
export async function deleteAcceptedInSegment(
  tx: Tx,
  segmentId: number,
  fingerprint: string,
): Promise<{ id: number; name: string }[]> {
  return tx<{ id: number; name: string }[]>`
    delete from target_host_keys h using targets t
    where t.id = h.target_id and t.segment_id = ${segmentId} and h.fingerprint = ${fingerprint}
    returning t.id, t.name`;
}

/** Returns the accepted keys of a segment's targets. */
export async function listAcceptedKeys(
  sql: Queryable,
  segmentId: number,
): Promise<{ targetId: number; fingerprint: string; keyType: string }[]> {
  return sql<{ targetId: number; fingerprint: string; keyType: string }[]>`
    select h.target_id, h.fingerprint, h.key_type from target_host_keys h join targets t on t.id = h.target_id
    where t.segment_id = ${segmentId} and h.state = 'accepted' order by h.target_id, h.fingerprint`;
}
