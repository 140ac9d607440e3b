// The embedded database is moved to a PostgreSQL of the operator's own, by the command that the documents name.
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import type { RunDetail } from '@opsconductor/protocol';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { connect, type Sql } from '../server/src/store/database/connection.ts';
import { setup, type TestSystem } from './support/system.ts';

const root = resolve(import.meta.dirname, '..');
const name = `opsc_moved_${randomBytes(6).toString('hex')}`;
const url = Object.assign(new URL(inject('databaseUrl')), { pathname: `/${name}` }).href;
let t: TestSystem;
let admin: Sql;
beforeAll(async () => {
  admin = connect(inject('databaseUrl'), { max: 1 });
  await admin.unsafe(`create database ${name}`);
  t = await setup({ ownPostgres: true });
});
afterAll(async () => {
  await t[Symbol.asyncDispose]();
  await admin.unsafe(`drop database ${name} with (force)`);
  await admin.end();
});

const move = () => command('move', []);

/** Runs a command as far as npm does nothing but start it. */
async function command(
  script: string,
  words: string[],
  environment: Record<string, string> = { DATABASE_URL: url },
) {
  const args = [join(root, `scripts/${script}.mjs`), ...words, '--data', t.serverDataDir];
  const env = { ...process.env, ...environment };
  return promisify(execFile)(process.execPath, args, { cwd: root, env }).then(
    ({ stdout }) => ({ code: 0, said: stdout }),
    (error: { code: number; stdout: string; stderr: string }) => ({
      code: error.code,
      said: `${error.stdout}${error.stderr}`,
    }),
  );
}

// It starts ten programs one after the other.
const wholeMs = 120_000;

test(
  'runs, output, credentials and agents go on with the new database, and no server starts on the old one',
  async () => {
    const before = await t.run(['echo kept']);
    expect(await before.reader.end()).toBe('succeeded');
    const kept = await t.stored(before.id, before.stepIds[0] ?? 0);
    // It is refused while the server runs.
    expect((await move()).code).toBe(1);

    expect(await t.server.stop()).toEqual([]);
    const moved = await move();
    expect(moved).toMatchObject({ code: 0, said: expect.stringMatching(/Copied and compared: [\d,]+ rows/) });
    expect(moved.said).not.toContain(new URL(url).password);

    await expect(t.server.start()).rejects.toThrow(/The database in .* was moved to \S+ on \d{4}-/);

    for (const [code, script, ...words] of [
      [1, 'keys', 'status'],
      [1, 'restored'],
      [3, 'audit', 'verify'],
    ] as const) {
      expect(await command(script, words, { DATABASE_URL: '' }), script).toMatchObject({
        code,
        said: expect.stringContaining('was moved to'),
      });
    }

    t.server.environment = { DATABASE_URL: url };
    await t.server.start();
    const { body } = await t.api.get<RunDetail>(`/api/v1/runs/${before.id}`);
    expect(body).toMatchObject({ id: before.id, status: 'succeeded' });
    expect(await t.stored(before.id, before.stepIds[0] ?? 0)).toEqual(kept);
    await t.until(async () => expect(await t.agentState('agent-a')).toBe('connected'));
    const after = await t.run(['echo goes on']);
    expect(await after.reader.end()).toBe('succeeded');
    expect(after.id).toBeGreaterThan(before.id);
  },
  wholeMs,
);
