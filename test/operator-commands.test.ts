// Commands that an operator uses next to a server: their help, and output piped into another program.
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { insertInstallation } from '../server/src/store/database/installation.ts';
import { setupDatabase } from '../server/src/store/database/testing.ts';

const run = promisify(execFile);
const cwd = resolve(import.meta.dirname, '..');

test.each(['restored', 'keys'])('%s describes itself if asked for help, and succeeds', async (name) => {
  const { stdout, stderr } = await run(process.execPath, [`scripts/${name}.mjs`, '--help'], { cwd });
  expect(stdout).toMatch(new RegExp(`^npm run ${name}`));
  expect(stderr).toBe('');
});

test('restored does all its work even if nobody reads its output', async () => {
  const database = await setupDatabase();
  try {
    await insertInstallation(database.sql, {
      id: randomUUID(),
      masterKeyId: 'mk-test',
      serverKey: Buffer.alloc(32),
      serverKeySealed: Buffer.from('sealed'),
    });
    const line = `"${process.execPath}" scripts/restored.mjs | true; echo "ended with \${PIPESTATUS[0]}"`;
    const env = { ...process.env, DATABASE_URL: database.url };
    const { stdout, stderr } = await run('bash', ['-c', line], { cwd, env });
    expect({ stdout, stderr }).toEqual({ stdout: 'ended with 0\n', stderr: '' });
    const [row] = await database.sql<{ timeline: number }[]>`select timeline from installation`;
    expect(row?.timeline).toBe(2);
  } finally {
    await database.close();
  }
});
