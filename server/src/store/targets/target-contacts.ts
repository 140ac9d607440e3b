// When targets were last reached, by steps and by tests.
import type { Queryable, Tx } from '../database/connection.ts';

export interface Contact {
  ok: boolean;
  reason: string | null;
}

export interface StepContact extends Contact {
  stepId: number;
  /** The target has just shown an accepted key, because the connection was opened for this step. */
  showedKey: boolean;
  /** Counts only if the step goes over WinRM. */
  ifWinrm?: true;
}

/** A contact like the previous one is written no sooner than after this many seconds. */
const sameContactS = 30;

/**
 * A contact may be this old, in seconds, when it is written; a key seen within that time may be newer than the contact.
 */
const maxUnwrittenS = 10;

/**
 * Writes what these steps say about their targets; if several concern one target, the last one counts. Never waits: a
 * target that someone is changing keeps its previous contact. A target that has shown its accepted key again no longer
 * counts as changed.
 */
export async function writeStepContacts(sql: Queryable, contacts: readonly StepContact[]): Promise<void> {
  await sql`
    with seen as materialized (
      select distinct on (tr.target_id) tr.target_id, (n.one ->> 'ok')::boolean as ok, n.one ->> 'reason' as reason,
        (n.one ->> 'showedKey')::boolean as showed_key
      from jsonb_array_elements(${sql.json(contacts as never)}::jsonb) with ordinality as n(one, place)
      join job_run_steps st on st.id = (n.one ->> 'stepId')::bigint
      join job_run_targets tr on tr.id = st.target_run_id
      join targets tg on tg.id = tr.target_id
      where (n.one -> 'ifWinrm' is null or st.step_type like 'winrm.%')
        -- Begun before the target's way was changed, it says nothing about how it is reached now.
        and not (tg.last_contact_ok is null and coalesce(st.leased_at < tg.last_contact_at, false))
      order by tr.target_id, n.place desc
    ), due as materialized (
      select t.id, seen.ok, seen.reason, seen.showed_key from targets t join seen on seen.target_id = t.id
      where (t.last_contact_ok, t.last_contact_reason) is distinct from (seen.ok, seen.reason)
        or t.last_contact_at < clock_timestamp() - make_interval(secs => ${sameContactS})
      for no key update of t skip locked
    ), forgotten as (
      delete from target_host_keys k using due
      where k.target_id = due.id and due.showed_key and k.state = 'changed'
        and k.seen_at < clock_timestamp() - make_interval(secs => ${maxUnwrittenS})
    )
    update targets t set last_contact_at = clock_timestamp(), last_contact_ok = due.ok, last_contact_reason = due.reason
    from due where t.id = due.id`;
}

/** Writes what a test says about a target. */
export async function writeContact(sql: Queryable, targetId: number, contact: Contact): Promise<void> {
  await sql`
    update targets set last_contact_at = clock_timestamp(), last_contact_ok = ${contact.ok},
      last_contact_reason = ${contact.reason}
    where id = ${targetId}`;
}

/**
 * Forgets how these targets were last reached, and notes when, because how they are reached was changed: what is known
 * is about the way before. One that was never tried stays that.
 */
export async function forgetContacts(tx: Tx, targetIds: readonly number[]): Promise<void> {
  if (targetIds.length === 0) return;
  await tx`
    update targets set last_contact_ok = null, last_contact_reason = null,
      last_contact_at = case when last_contact_at is null then null else clock_timestamp() end,
      last_probe_at = null, last_probe_ok = null, last_probe_reason = null, last_probe_ms = null
    where id = any(${targetIds as number[]}::bigint[]) and (last_contact_at is not null or last_probe_at is not null)`;
}

/** Like `forgetContacts`, for those of these targets whose own credential will change to this one. */
export async function forgetContactsWith(
  tx: Tx,
  targetIds: readonly number[],
  credentialId: string | null,
): Promise<void> {
  await tx`
    update targets set last_contact_ok = null, last_contact_reason = null, last_contact_at = clock_timestamp()
    where id = any(${targetIds as number[]}::bigint[]) and last_contact_at is not null
      and credential_id is distinct from ${credentialId}::uuid`;
}

/**
 * Forgets that the host key of these targets was refused, because a key was accepted: whether that is the one that they
 * show is known once they are tried again. Other failures stay.
 */
export async function forgetKeyRefusals(tx: Tx, targetIds: readonly number[]): Promise<void> {
  if (targetIds.length === 0) return;
  // Not later than the key was accepted, in the same transaction: that tells what was changed.
  await tx`
    update targets set last_contact_ok = null, last_contact_reason = null, last_contact_at = now()
    where id = any(${targetIds as number[]}::bigint[])
      and last_contact_reason in ('host_key_unknown', 'host_key_mismatch')`;
}
