// One PostgreSQL for the whole suite: the embedded one, or the server at OPSCONDUCTOR_TEST_DATABASE_URL (a role that
// may create databases). Tests clone a migrated template database, one clone per file.
import { chmod, mkdir, mkdtemp, rm, statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { startEmbeddedPostgres } from '../../server/src/database/embedded-postgres.ts';
import { connect } from '../../server/src/store/database/connection.ts';
import { migrate, readMigrations } from '../../server/src/store/database/migrate.ts';

declare module 'vitest' {
  interface ProvidedContext {
    databaseUrl: string;
    databaseTemplate: string;
  }
}

// What a power cut would need: nothing here outlives the suite, and a clone waits for the disk without it. Tests that
// kill PostgreSQL have their own, with the product's settings.
const settings = { fsync: 'off', full_page_writes: 'off', max_wal_size: '512MB' };
const memoryDisk = '/dev/shm';
const minMemoryBytes = 4 * 1024 ** 3;

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const given = process.env.OPSCONDUCTOR_TEST_DATABASE_URL;
  const dataDir = await mkdtemp(join(tmpdir(), 'opsconductor-test-'));
  // PostgreSQL under root is another account: where that can't enter, the database would be placed outside, and stay.
  await chmod(dataDir, 0o755);
  const databaseDir = (await hasMemoryDisk())
    ? await mkdtemp(join(memoryDisk, 'opsconductor-test-'))
    : dataDir;
  await chmod(databaseDir, 0o755);
  // What a killed process or worker leaves behind goes with the folder, too.
  const temporary = join(dataDir, 'tmp');
  await mkdir(temporary);
  await chmod(temporary, 0o1777);
  process.env.TMPDIR = temporary;
  const embedded =
    given === undefined
      ? await startEmbeddedPostgres({ dataDir: join(databaseDir, 'postgres'), log: () => {}, settings })
      : undefined;
  const url = given ?? embedded?.url ?? '';
  const template = `opsc_template_${process.pid}`;
  await makeTemplate(url, template);
  project.provide('databaseUrl', url);
  project.provide('databaseTemplate', template);
  return async () => {
    await dropDatabase(url, template);
    await embedded?.stop();
    for (const dir of [databaseDir, dataDir]) await rm(dir, { recursive: true, force: true, maxRetries: 5 });
  };
}

/** Hundreds of clones of a thousand files each: in memory, where there is room, they cost a third. */
async function hasMemoryDisk(): Promise<boolean> {
  const disk = await statfs(memoryDisk).catch(() => undefined);
  return disk !== undefined && disk.bavail * disk.bsize >= minMemoryBytes;
}

async function makeTemplate(url: string, template: string): Promise<void> {
  const admin = connect(url, { max: 1 });
  await admin.unsafe(`create database ${template}`);
  await admin.end();
  const templateUrl = new URL(url);
  templateUrl.pathname = `/${template}`;
  const sql = connect(templateUrl.href, { max: 1 });
  await migrate(sql, await readMigrations(join(import.meta.dirname, '../../migrations')));
  await sql.end();
}

async function dropDatabase(url: string, name: string): Promise<void> {
  const admin = connect(url, { max: 1 });
  // Without FORCE the drop itself ends an autovacuum worker, whom our role may not terminate.
  await admin.unsafe(`drop database if exists ${name}`).catch(() => {
    return admin.unsafe(`drop database if exists ${name} with (force)`);
  });
  await admin.end();
}
