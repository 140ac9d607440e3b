// Trees with names of any bytes that Linux allows, copied in each way: one by one, in a tar stream, by the SCP
// protocol.
import { lstat, mkdir, readdir, readFile, readlink, symlink, writeFile } from 'node:fs/promises';
import { expect } from 'vitest';
import { sshTest } from '../../ssh/sshd-setup.ts';
import { type SftpSetup, setupTransfers } from './sftp-setup.ts';

const bytes = (text: string) => Buffer.from(text, 'latin1');
/**
 * Not UTF-8: names that would be the same if invalid bytes were replaced, truncated and overlong characters, and the
 * replacement character itself.
 */
const odd = ['caf\xe9', 'caf\xe8', '\xff', '\xc3', '\xe2\x82', '\xc0\xaf', '\xed\xa0\x80', '\xef\xbf\xbd'];
const lines = ['new\nline', '\n', ' ', "it's $(x) \\n\x1b[2J"];
const directories = ['plain', 'dir\xe9', 'dir\xe9/\xff\xfe'];

const under = (top: string, path: string) => Buffer.concat([Buffer.from(`${top}/`), bytes(path)]);

async function fill(top: string, names: readonly string[]): Promise<void> {
  for (const directory of directories) {
    await mkdir(under(top, directory), { recursive: true });
    for (const name of names) await writeFile(under(top, `${directory}/${name}`), `${directory} ${name}`);
  }
}

/** Returns every path below `top`, as bytes, with its kind and content. */
async function treeOf(top: string): Promise<string[]> {
  const found: string[] = [];
  const visit = async (path: string): Promise<void> => {
    for (const name of await readdir(under(top, path), { encoding: 'buffer' })) {
      const below = `${path}${name.toString('latin1')}`;
      const at = under(top, below);
      const kind = await lstat(at);
      if (kind.isDirectory()) await visit(`${below}/`);
      else if (kind.isSymbolicLink()) found.push(`${below} > ${await readlink(at, 'latin1')}`);
      else found.push(`${below} = ${await readFile(at, 'latin1')}`);
    }
  };
  await visit('');
  return found.sort();
}

async function thereAndBack(
  t: SftpSetup,
  [up, down]: readonly ['upload' | 'copy', 'download' | 'copy'],
  more: object,
) {
  const set = `${t.local}/set`;
  const there = { local_path: set, remote_path: `${t.remote}/set` };
  const back = { ...(down === 'copy' ? { direction: 'pull' } : {}), remote_path: there.remote_path };
  const outcomes = [
    (await t.run(up, { ...there, ...more })).outcome,
    (await t.run(down, { ...back, local_path: `${t.local}/back`, ...more })).outcome,
  ];
  expect(outcomes.map(({ status, message }) => message ?? status)).toEqual(['succeeded', 'succeeded']);
  const whole = await treeOf(set);
  expect(await treeOf(there.remote_path)).toEqual(whole);
  expect(await treeOf(`${t.local}/back`)).toEqual(whole);
  return whole;
}

sshTest.each([
  ['in a tar stream', {}],
  ['file by file, compared by their bytes', { verify: 'checksum' }],
])('names of any bytes go up and come back unchanged, %s', async (_, more) => {
  const t = await setupTransfers();
  await fill(`${t.local}/set`, [...odd, ...lines]);
  await symlink(bytes('dir\xe9/caf\xe9'), under(t.local, 'set/link\xe9'));
  await writeFile(`${t.local}/set/large`, Buffer.alloc(1_100_000, 'x'));
  const whole = await thereAndBack(t, ['upload', 'download'], more);
  expect(whole).toHaveLength(directories.length * (odd.length + lines.length) + 2);
  // People and the server are shown text, and different names stay different.
  const shown = await t.run('sync', {
    local_path: `${t.local}/set`,
    remote_path: `${t.remote}/new`,
    dry_run: true,
    exclude: ['/plain', '/dir*/?'],
  });
  expect(shown.stdout).toContain(String.raw`/new/dir\xe9/caf\xe9"`);
  const paths = (shown.report?.rows ?? []).map(({ remotePath }) => remotePath ?? '');
  expect(paths.some((path) => /[\ud800-\udfff]/u.test(path))).toBe(false);
  expect(new Set(paths).size).toBe(paths.length);
});

sshTest(
  'a mirror distinguishes names that differ only in invalid bytes, and deletes the right one',
  async () => {
    const t = await setupTransfers();
    const places = { local_path: `${t.local}/set`, remote_path: `${t.remote}/set` };
    await mkdir(places.local_path);
    for (const name of odd) await writeFile(under(t.local, `set/${name}`), name);
    expect((await t.run('sync', places)).report?.totals).toMatchObject({ created: odd.length });
    await writeFile(under(t.local, 'set/caf\xe9'), 'changed');
    await t.run('download', { ...places, local_path: `${t.local}/before` });
    await mkdir(`${t.local}/less`);
    for (const name of odd.slice(1)) await writeFile(under(t.local, `less/${name}`), name);
    const mirror = {
      ...places,
      local_path: `${t.local}/less`,
      mode: 'mirror',
      delete: true,
      compare: 'checksum',
    };
    const { report } = await t.run('sync', mirror);
    expect(report?.totals).toMatchObject({ created: 0, deleted: 1, failed: 0 });
    expect(report?.rows.map(({ remotePath }) => remotePath)).toContain(`"${t.remote}/set/caf\\xe9"`);
    expect(await treeOf(places.remote_path)).toEqual(await treeOf(`${t.local}/less`));
  },
);

sshTest(
  'without SFTP such names use the SCP protocol, and one with a line break is reported as not sent',
  async () => {
    const t = await setupTransfers({ config: ['Subsystem sftp /bin/false'] });
    await fill(`${t.local}/set`, odd);
    await thereAndBack(t, ['copy', 'copy'], {});
    await writeFile(`${t.local}/set/new\nline`, 'x');
    const { outcome, report } = await t.run('copy', {
      local_path: `${t.local}/set`,
      remote_path: `${t.remote}/again`,
    });
    expect(outcome).toMatchObject({ status: 'failed', message: expect.stringContaining('new\\nline') });
    expect(report?.totals).toMatchObject({ created: directories.length * odd.length, failed: 1 });
  },
);
