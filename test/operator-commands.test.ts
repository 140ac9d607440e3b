// Commands that an operator uses next to a server: their help, and output piped into another program.
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { takeServerLock } from '../server/src/database/server-lock.ts';
import { setupDatabase } from '../server/src/store/database/testing.ts';
import { insertInstallation } from '../server/src/store/installation/installation.ts';

const run = promisify(execFile);
const cwd = resolve(import.meta.dirname, '..');

// What starts through tsx takes two seconds of processor. Where only the answer matters, the same program is bundled.
const bundles = new Map<string, Promise<string>>();
async function bundleOf(name: 'keys' | 'restored' | 'audit'): Promise<string> {
  const source = `server/src/commands/${name === 'restored' ? 'restore' : name}-main.ts`;
  expect(await readFile(join(cwd, `scripts/${name}.mjs`), 'utf8')).toContain(`import('../${source}')`);
  const made = bundles.get(name) ?? makeBundle(source, `.cache/tested/${name}.mjs`);
  bundles.set(name, made);
  return made;
}

async function makeBundle(source: string, file: string): Promise<string> {
  const { bundle } = await import(join(cwd, 'scripts/bundle.mjs'));
  await mkdir(join(cwd, '.cache/tested'), { recursive: true });
  await (bundle as (entryPoint: string, outfile: string) => Promise<void>)(source, file);
  return join(cwd, file);
}

test.each(['restored', 'keys'])('%s describes itself if asked for help, and succeeds', async (name) => {
  const { stdout, stderr } = await run(process.execPath, [`scripts/${name}.mjs`, '--help'], { cwd });
  expect(stdout).toMatch(new RegExp(`^npm run ${name}`));
  expect(stderr).toBe('');
});

test.each([
  ['check', 'npm run check'],
  ['dev', 'npm run dev'],
  ['build', 'node scripts/build.mjs'],
])('%s describes itself if asked for help, and does nothing else', async (name, begin) => {
  const { stdout, stderr } = await run(process.execPath, [`scripts/${name}.mjs`, '--help'], {
    cwd,
    timeout: 20_000,
  });
  expect(stdout.startsWith(`${begin} `)).toBe(true);
  expect(stdout).not.toMatch(/Building|Format and lint|\[dev\]/);
  expect(stderr).toBe('');
});

test('what can not be built or checked is refused', async () => {
  const failed = (name: string, argument: string) =>
    run(process.execPath, [`scripts/${name}.mjs`, argument], { cwd, timeout: 20_000 }).catch(
      ({ code, stderr }: { code: number; stderr: string }) => [code, stderr.split('\n')[0]],
    );
  expect(await failed('build', 'opsconducter')).toEqual([2, 'error: there is no “opsconducter” to build']);
  expect(await failed('check', '--statik')).toEqual([2, "error: Unknown option '--statik'"]);
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

async function endsOfHelp(program: string) {
  const ended = (to: string) =>
    run(
      'bash',
      ['-c', `"${process.execPath}" "${program}" --help ${to}; echo "ended with \${PIPESTATUS[0]}"`],
      {
        cwd,
      },
    );
  return { unread: await ended('| true'), unwritten: await ended('> /dev/full') };
}

test.each([
  ['audit', 3],
  ['keys', 1],
] as const)(
  '%s ends no differently if nobody reads its output, and says so if that can not be written',
  async (name, lostCode) => {
    const { unread, unwritten } = await endsOfHelp(await bundleOf(name));
    expect(unread).toEqual({ stdout: 'ended with 0\n', stderr: '' });
    expect(unwritten.stdout).toBe(`ended with ${lostCode}\n`);
    expect(unwritten.stderr).toMatch(
      /^error: what the command says can't be written: ENOSPC.*\n.*elsewhere\.\n$/,
    );
  },
);

test.each(['agent/src/main.ts', 'agent/src/owner-main.ts', 'server/src/main.ts'])(
  'the help of %s that can not be written is an error, and that nobody reads is not',
  async (source) => {
    const program = await makeBundle(source, `.cache/tested/${source.replaceAll('/', '-')}.mjs`);
    const { unread, unwritten } = await endsOfHelp(program);
    expect(unread).toEqual({ stdout: 'ended with 0\n', stderr: '' });
    expect(unwritten.stdout).toBe('ended with 1\n');
    expect(unwritten.stderr).toMatch(
      /^error: what the command says can't be written: ENOSPC.*\n.*elsewhere\.\n$/i,
    );
  },
);

const commandsOnData = [
  { name: 'keys', args: ['status'] },
  { name: 'restored', args: [] },
  { name: 'audit', args: ['verify'] },
] as const;

test.each(commandsOnData)(
  '$name names a folder without a database, and makes none in it',
  async ({ name, args }) => {
    const folder = await mkdtemp(join(tmpdir(), 'opsconductor-commands-'));
    try {
      const data = join(folder, 'misspelled');
      const env = { ...process.env, DATABASE_URL: '' };
      const program = name === 'audit' ? 'scripts/audit.mjs' : await bundleOf(name);
      const failed = await run(process.execPath, [program, ...args, '--data', data], { cwd, env }).then(
        () => undefined,
        (error: { stdout: string; stderr: string }) => error,
      );
      const text = `${failed?.stdout}${failed?.stderr}`;
      expect(text).toContain(`There is no database in ${join(data, 'postgres')}. Give the folder`);
      expect(await readdir(folder)).toEqual([]);
    } finally {
      await rm(folder, { recursive: true });
    }
  },
);

test.each(commandsOnData)(
  '$name beside a server says to stop that, and names no other folder',
  async ({ name, args }) => {
    const data = await mkdtemp(join(tmpdir(), 'opsconductor-commands-'));
    const postgres = join(data, 'postgres');
    await mkdir(join(postgres, 'cluster'), { recursive: true });
    const lock = await takeServerLock(postgres, () => {});
    try {
      const env = { ...process.env, DATABASE_URL: '' };
      const failed = await run(process.execPath, [await bundleOf(name), ...args, '--data', data], {
        ...{ cwd, env },
      }).then(
        () => undefined,
        (error: { stdout: string; stderr: string }) => error,
      );
      const said = `${failed?.stdout}${failed?.stderr}`;
      expect(said).toContain(
        `A server (process id ${process.pid}) uses the database in ${postgres}. Stop it first`,
      );
      expect(said).not.toContain('another folder');
      expect(said.includes('--export')).toBe(name === 'audit');
    } finally {
      await lock.release();
      await rm(data, { recursive: true });
    }
  },
);

test.each(commandsOnData)('$name says that a database is not of an installation', async ({ name, args }) => {
  const { sql, url, close } = await setupDatabase();
  try {
    await sql.unsafe('drop schema public cascade; create schema public');
    const env = { ...process.env, DATABASE_URL: url };
    const failed = await run(process.execPath, [await bundleOf(name), ...args], { cwd, env }).then(
      () => undefined,
      (error: { stdout: string; stderr: string }) => error,
    );
    expect(`${failed?.stdout}${failed?.stderr}`).toMatch(/this database has no installation/i);
  } finally {
    await close();
  }
});

test('a command of keys that does not exist is refused before any database is looked for', async () => {
  const env = { ...process.env, DATABASE_URL: 'postgres://nobody@127.0.0.1:1/none' };
  const failed = await run(process.execPath, [await bundleOf('keys'), 'stauts'], { cwd, env }).catch(
    (error) => error,
  );
  expect(failed.stderr).toMatch(
    /^There is no command “stauts”; there are status, .*\n\nnpm run keys -- status/,
  );
});
