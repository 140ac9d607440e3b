// The single row that identifies this installation.
import type { Queryable } from '../database/connection.ts';

export interface InstallationRow {
  id: string;
  timeline: number;
  masterKeyId: string;
  serverKey: Buffer;
  serverKeySealed: Buffer;
  bootstrappedAt: Date | null;
}

export async function readInstallation(sql: Queryable): Promise<InstallationRow | undefined> {
  const rows = await sql<InstallationRow[]>`
    select id, timeline, master_key_id, server_key, server_key_sealed, bootstrapped_at from installation`;
  return rows[0];
}

/** Returns whether the database has the schema. One that was named by mistake hasn't, and every other query fails there. */
export async function hasSchema(sql: Queryable): Promise<boolean> {
  const [row] = await sql<{ found: boolean }[]>`select to_regclass('installation') is not null as found`;
  return row?.found === true;
}

export type NewInstallation = Pick<InstallationRow, 'id' | 'masterKeyId' | 'serverKey' | 'serverKeySealed'>;

/** Inserts the row unless another server, started at the same time, was first. */
export async function insertInstallation(sql: Queryable, row: NewInstallation): Promise<void> {
  await sql`insert into installation ${sql({ ...row })} on conflict (singleton) do nothing`;
}

/**
 * Marks the installation as bootstrapped. Returns false if it already was. Waits for another server that is doing it.
 */
export async function markBootstrapped(sql: Queryable, now: Date): Promise<boolean> {
  const result = await sql`update installation set bootstrapped_at = ${now} where bootstrapped_at is null`;
  return result.count === 1;
}
