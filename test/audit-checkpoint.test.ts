// Checkpoints of the audit log leave the server's reach: an agent keeps them, and detects that a database was rolled
// back.
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { readCheckpoint } from '@opsconductor/protocol/audit';
import { expect, test } from 'vitest';
import { setup, type TestSystem } from './support/system.ts';

const run = promisify(execFile);
const root = resolve(import.meta.dirname, '..');

const kept = (t: TestSystem) => join(t.agent.dataDir, 'audit-checkpoint.json');

async function keptSize(t: TestSystem): Promise<number> {
  const { note } = JSON.parse(await readFile(kept(t), 'utf8')) as { note: string };
  return readCheckpoint(note).size;
}

/** What `status` says, also of an agent that is stopped, which its exit code tells. */
async function status(t: TestSystem): Promise<string> {
  const args = [join(root, '.cache/build/agent.mjs'), 'status', '--data', t.agent.dataDir];
  return run(process.execPath, args).then(
    ({ stdout }) => stdout,
    (error: { code: number; stdout: string }) => {
      expect(error.code).toBe(3);
      return error.stdout;
    },
  );
}

/** Runs `npm run audit -- verify` with the checkpoint that the agent keeps. */
async function verify(t: TestSystem): Promise<{ code: number; output: string }> {
  const args = [join(root, 'scripts/audit.mjs'), 'verify', '--checkpoint', kept(t)];
  const env = { ...process.env, DATABASE_URL: t.databaseUrl };
  return run(process.execPath, args, { env, cwd: root }).then(
    ({ stdout }) => ({ code: 0, output: stdout }),
    (error: { code: number; stdout: string }) => ({ code: error.code, output: error.stdout }),
  );
}

/** Simulates that somebody with full access restored an earlier state of the database. */
async function rollBack(t: TestSystem, size: number): Promise<void> {
  const tables = ['audit_log', 'audit_leaves', 'audit_nodes', 'audit_checkpoints'];
  await t.sql.begin(async (tx) => {
    for (const table of tables) await tx.unsafe(`alter table ${table} disable trigger user`);
    await tx`delete from audit_unsealed`;
    await tx`delete from audit_log where id not in (select audit_id from audit_leaves where position < ${size})`;
    await tx`delete from audit_leaves where position >= ${size}`;
    await tx`delete from audit_nodes where (index + 1) * (1 << level) > ${size}`;
    await tx`delete from audit_checkpoints where size > ${size}`;
    for (const table of tables) await tx.unsafe(`alter table ${table} enable trigger user`);
  });
}

test('an agent keeps the newest checkpoint, which proves that the database was rolled back', async () => {
  await using t = await setup();
  let earlier = 0;
  await t.until(async () => {
    const [newest] = await t.sql<{ size: number }[]>`select max(size) as size from audit_checkpoints`;
    earlier = newest?.size ?? 0;
    expect(earlier).toBeGreaterThan(0);
  });
  await t.api.made('/api/v1/categories', { name: 'One more row' });
  await t.until(async () => expect(await keptSize(t)).toBeGreaterThan(earlier));
  await t.agent.stop();
  expect(await status(t)).toMatch(/audit log {2}checkpoint \d+, \d+ rows, sealed 20/);
  await t.server.stop();
  expect(await verify(t)).toMatchObject({ code: 0 });

  const size = await keptSize(t);
  await rollBack(t, earlier);
  const { code, output } = await verify(t);
  expect(code).toBe(1);
  const rows = size - earlier === 1 ? 'one was' : `${size - earlier} were`;
  expect(output).toContain(`covers ${size}: the last ${rows} cut off`);

  await t.server.start();
  await t.agent.start();
  await t.until(async () => {
    const rows = await t.sql`
      select actor_name, detail from audit_log where action = 'audit.checkpoint_refused'`;
    expect(rows).toMatchObject([{ actorName: 'agent-a', detail: { held: { size, isSigned: true } } }]);
  });
  expect(t.server.output).toContain('an agent refused a checkpoint of the audit log');
  expect(await status(t)).toContain('REFUSED another one');
  expect(await keptSize(t)).toBe(size);
});
