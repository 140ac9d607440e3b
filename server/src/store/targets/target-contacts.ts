// When targets were last reached, by steps and by tests.
import type { Queryable } from '../database/connection.ts';

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
      where tr.target_id is not null and (n.one -> 'ifWinrm' is null or st.step_type like 'winrm.%')
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
