// The identity of this installation: created at the first start, opened with the master key at every later one.
import { randomUUID } from 'node:crypto';
import { generateSigningKeyPair, type KeyPair, signingPublicKeyOf } from '@opsconductor/protocol/sealing';
import { unwrapDataKey, wrapDataKey } from '../../credentials/at-rest/data-key.ts';
import {
  loadOrCreateMasterKeys,
  type MasterKey,
  requireMasterKey,
} from '../../credentials/at-rest/master-key.ts';
import { MasterKeyRing } from '../../credentials/at-rest/master-key-ring.ts';
import type { Sql } from '../../store/database/connection.ts';
import {
  type InstallationRow,
  insertInstallation,
  readInstallation,
} from '../../store/installation/installation.ts';

export interface Installation {
  installationId: string;
  timeline: number;
  /** Ed25519; agents pin its public half. */
  serverKey: KeyPair;
  masterKey: MasterKey;
}

/**
 * Reads the installation, or creates it and its master key file if the database has none.
 * @throws AtRestError `missing` or `wrong_master_key` if the file doesn't belong to this database; `damaged`.
 */
export async function openInstallation(
  sql: Sql,
  masterKeyFile: string,
): Promise<Installation & { masterKey: MasterKeyRing }> {
  const before = await readInstallation(sql);
  const masterKeys = await loadOrCreateMasterKeys({
    file: masterKeyFile,
    ...(before === undefined ? {} : { expectedId: before.masterKeyId }),
  });
  const row = before ?? (await createInstallation(sql, masterKeys[0] as MasterKey));
  const active = requireMasterKey(masterKeys, row.masterKeyId, masterKeyFile);
  const masterKey = new MasterKeyRing(masterKeys, active);
  const privateKey = new Uint8Array(
    unwrapDataKey(masterKey, row.serverKeySealed.toString(), serverKeyContext(row.id)),
  );
  const publicKey = await signingPublicKeyOf(privateKey);
  if (!row.serverKey.equals(publicKey)) {
    throw new Error('installation.server_key is not the public half of the sealed key: the row was altered');
  }
  return { installationId: row.id, timeline: row.timeline, serverKey: { publicKey, privateKey }, masterKey };
}

async function createInstallation(sql: Sql, masterKey: MasterKey): Promise<InstallationRow> {
  const id = randomUUID();
  const { publicKey, privateKey } = await generateSigningKeyPair();
  await insertInstallation(sql, {
    id,
    masterKeyId: masterKey.id,
    serverKey: Buffer.from(publicKey),
    serverKeySealed: Buffer.from(wrapDataKey(masterKey, privateKey, serverKeyContext(id))),
  });
  privateKey.fill(0);
  const row = await readInstallation(sql);
  if (row === undefined) throw new Error('the installation row is gone right after it was made');
  return row;
}

/** Binds the wrapped key of the server's identity to its installation. */
export function serverKeyContext(installationId: string): string {
  return `server-key/${installationId}`;
}
