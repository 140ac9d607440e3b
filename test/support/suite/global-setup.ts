// One PostgreSQL for the whole suite: the embedded one, or the server at OPSCONDUCTOR_TEST_DATABASE_URL (with a role
// that may create databases). Tests clone a migrated template database. If there is a superuser, there is also a
// template whose clones are emptied and reused.
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, rm, statfs, writeFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { TestProject } from 'vitest/node';
import { adminRole, loadPasswords } from '../../../server/src/database/cluster-passwords.ts';
import { startEmbeddedPostgres } from '../../../server/src/database/embedded-postgres.ts';
import { connect } from '../../../server/src/store/database/connection.ts';
import { migrate, readMigrations } from '../../../server/src/store/database/migrate.ts';
import { makeLendable } from '../../../server/src/store/database/testing/lendable.ts';

declare module 'vitest' {
  interface ProvidedContext {
    databaseUrl: string;
    databaseTemplate: string;
    lendableTemplate: string | undefined;
  }
}

// These settings protect against power loss, but nothing here outlives the suite, and without them a clone has to wait
// for the disk. Tests that kill PostgreSQL have their own, with the product's settings. The databases are small and
// soon emptied: vacuuming them is useless, and plans that change after an analyze are harmful.
const settings = { fsync: 'off', full_page_writes: 'off', max_wal_size: '512MB', autovacuum: 'off' };
const prefix = 'opsconductor-test-';
const memoryDisk = '/dev/shm';
const minMemoryBytes = 4 * 1024 ** 3;
const execFileAsync = promisify(execFile);

export default async function setup(project: Pick<TestProject, 'provide'>): Promise<() => Promise<void>> {
  const given = process.env.OPSCONDUCTOR_TEST_DATABASE_URL;
  const dataDir = (await inMemory()) ?? (await mkdtemp(join(tmpdir(), prefix)));
  // Run by root, PostgreSQL uses another account: without access, its database would be placed outside and left behind.
  await chmod(dataDir, 0o755);
  // Whatever a killed process or worker leaves behind is removed with the folder.
  const afterSuite = startAfterSuite(dataDir);
  const temporary = join(dataDir, 'tmp');
  await mkdir(temporary);
  await chmod(temporary, 0o1777);
  process.env.TMPDIR = temporary;
  const embedded =
    given === undefined
      ? await startEmbeddedPostgres({ dataDir: join(dataDir, 'postgres'), log: () => {}, settings })
      : undefined;
  const url = given ?? embedded?.url ?? '';
  const template = `opsc_test_${process.pid}`;
  const lendable = `opsc_lent_${process.pid}`;
  await makeTemplate(url, template);
  const superuser = given ?? (await superuserUrl(url, join(dataDir, 'postgres')));
  const isLending = await makeLendableTemplate(superuser, { template, lendable });
  project.provide('databaseUrl', url);
  project.provide('databaseTemplate', template);
  project.provide('lendableTemplate', isLending ? lendable : undefined);
  return async () => {
    // On a given server, nobody else removes those that are reused. What is ours goes with its folder.
    if (given !== undefined) await dropDatabases(superuser, [template, lendable]);
    await embedded?.stop();
    const ended = once(afterSuite, 'exit');
    afterSuite.stdin?.end();
    await ended;
  };
}

/** Ends everything in the folder once this process is gone; it belongs to nobody's process group. */
function startAfterSuite(folder: string): ChildProcess {
  const program = join(import.meta.dirname, 'after-suite.mjs');
  const child = spawn(process.execPath, [program, folder], {
    cwd: '/',
    detached: true,
    stdio: ['pipe', 'ignore', 'inherit'],
  });
  child.unref();
  (child.stdin as Socket).unref();
  return child;
}

async function superuserUrl(url: string, dataDir: string): Promise<string> {
  const { adminPassword } = await loadPasswords(dataDir, true);
  return Object.assign(new URL(url), { username: adminRole, password: adminPassword }).href;
}

/**
 * Returns a folder in memory, if there is room and programs may be run from it. Hundreds of databases with a thousand
 * files each come and go: on ext4, each new file would search past the inodes freed in the last seconds.
 */
async function inMemory(): Promise<string | undefined> {
  const disk = await statfs(memoryDisk).catch(() => undefined);
  if (disk === undefined || disk.bavail * disk.bsize < minMemoryBytes) return undefined;
  const dir = await mkdtemp(join(memoryDisk, prefix));
  const program = join(dir, 'program');
  await writeFile(program, '#!/bin/sh\n', { mode: 0o755 });
  const runs = await execFileAsync(program).then(
    () => true,
    () => false,
  );
  if (runs) return dir;
  await rm(dir, { recursive: true });
  return undefined;
}

async function makeTemplate(url: string, template: string): Promise<void> {
  const admin = connect(url, { max: 1 });
  await admin.unsafe(`create database ${template}`);
  await admin.end();
  const sql = connect(urlOf(url, template), { max: 1 });
  await migrate(sql, await readMigrations(join(import.meta.dirname, '../../../migrations')));
  await sql.end();
}

/** Returns whether it worked: on a given server, we may have no superuser. */
async function makeLendableTemplate(
  url: string,
  { template, lendable }: { template: string; lendable: string },
): Promise<boolean> {
  const admin = connect(url, { max: 1 });
  const [may] = await admin<{ everything: boolean }[]>`
    select usesuper as everything from pg_user where usename = current_user`;
  if (may?.everything) {
    const [{ owner } = { owner: '' }] = await admin<{ owner: string }[]>`
      select pg_get_userbyid(datdba) as owner from pg_database where datname = ${template}`;
    await admin.unsafe(`create database ${lendable} template ${template} owner ${owner}`);
    // The server's role clones it, which is a different one if the server is ours.
    const sql = connect(urlOf(url, lendable), { max: 1 });
    await makeLendable(sql);
    await sql.end();
  }
  await admin.end();
  return may?.everything ?? false;
}

function urlOf(url: string, database: string): string {
  return Object.assign(new URL(url), { pathname: `/${database}` }).href;
}

/** Drops databases with these names, and those made from them. */
async function dropDatabases(url: string, names: readonly string[]): Promise<void> {
  const admin = connect(url, { max: 1 });
  const found = await admin<{ name: string }[]>`
    select datname as name from pg_database where datname ~ ${`^(${names.join('|')})(_|$)`}`;
  // Without FORCE, the drop itself ends an autovacuum worker, which our role may not terminate.
  for (const { name } of found) {
    await admin.unsafe(`drop database if exists ${name}`).catch(() => {
      return admin.unsafe(`drop database if exists ${name} with (force)`);
    });
  }
  await admin.end();
}
