// A database with an installation and its sealer, for tests, and an attacker who can do anything to its tables.
import { randomUUID } from 'node:crypto';
import { generateSigningKeyPair, type KeyPair } from '@opsconductor/protocol/sealing';
import { createLog } from '../log.ts';
import type { Sql } from '../store/database/connection.ts';
import { borrowDatabase } from '../store/database/testing.ts';
import { insertInstallation } from '../store/installation/installation.ts';
import { type AuditEntry, recordAudit } from './record-audit.ts';
import { Retention } from './sealing/retention.ts';
import { AuditSealer, type SealerDeps } from './sealing/sealer.ts';

export interface TestAudit {
  sql: Sql;
  url: string;
  installation: { installationId: string; serverKey: KeyPair };
  sealer: AuditSealer;
  deps: SealerDeps;
  /** Logged lines. */
  logged: string[];
  /** Writes rows `test.<name>`, and returns their ids. */
  write(...names: string[]): Promise<number[]>;
  /** Runs statements as somebody who has the server's database role and switches its triggers off. */
  attack(...statements: string[]): Promise<void>;
  /** Makes the log like new, which is cheaper than a database for each test. */
  empty(): Promise<void>;
  close(): Promise<void>;
}

const tables = ['audit_log', 'audit_leaves', 'audit_nodes', 'audit_checkpoints', 'audit_retention'];

/** @param like Another log whose installation this one shares, like a restored copy of it. */
export async function setupAudit(like?: TestAudit): Promise<TestAudit> {
  const { sql, url, close } = await borrowDatabase();
  const installation = like?.installation ?? {
    installationId: randomUUID(),
    serverKey: await generateSigningKeyPair(),
  };
  await insertInstallation(sql, {
    id: installation.installationId,
    masterKeyId: 'test',
    serverKey: Buffer.from(installation.serverKey.publicKey),
    serverKeySealed: Buffer.from('sealed'),
  });
  const logged: string[] = [];
  const log = createLog({
    level: 'debug',
    plain: false,
    destination: { write: (line) => logged.push(line) },
  });
  const attack: TestAudit['attack'] = async (...statements) => {
    await sql.begin(async (tx) => {
      for (const table of tables) await tx.unsafe(`alter table ${table} disable trigger user`);
      for (const statement of statements) await tx.unsafe(statement);
      for (const table of tables) await tx.unsafe(`alter table ${table} enable trigger user`);
    });
  };
  const deps: SealerDeps = { sql, installation, log, retentionDays: undefined };
  return {
    sql,
    url,
    installation,
    sealer: new AuditSealer(deps),
    deps,
    logged,
    async write(...names) {
      for (const name of names) await recordAudit(sql, testEntry(name));
      const rows = await sql<
        { id: number }[]
      >`select id from audit_log order by id desc limit ${names.length}`;
      return rows.map((row) => row.id).reverse();
    },
    attack,
    async empty() {
      await attack(`truncate audit_unsealed, ${tables.join(', ')} restart identity`);
      logged.length = 0;
    },
    close,
  };
}

/** Removes everything that was sealed more than `days` ago; returns the number of rows. */
export async function applyRetention(deps: SealerDeps, days: number): Promise<number> {
  const retention = new Retention(deps);
  await retention.note(days);
  let removed = 0;
  for (let more = true; more; ) {
    const some = await retention.removeSome();
    removed += some.rows;
    more = some.more;
  }
  return removed;
}

export function testEntry(name: string): AuditEntry {
  return {
    actor: { kind: 'user', id: 1, name: 'ada' },
    action: `test.${name}`,
    object: { kind: 'job', id: 7 },
    detail: { name, list: [1, 2.5, 'ü'], nested: { b: null, a: true } },
    origin: { address: '192.0.2.7', requestId: 'request' },
  };
}
