import { createHash, randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { ContentAnswer, ContentRequest } from '@opsconductor/protocol';
import { expect, vi } from 'vitest';
import { sshTest } from '../ssh/sshd-setup.ts';
import { setupTransfers } from '../steps/sftp/sftp-setup.ts';

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
const noPolicy = () => ({ fileRoots: [] });
const refused = (reason: 'path_missing' | 'no_space' | 'checksum_mismatch'): ContentAnswer => ({
  problem: { reason, message: `It is ${reason}.`, advice: 'Mend it.' },
});

/** A server that has one file and accepts artifacts. */
function server(file: Buffer) {
  const taken = new Map<string, Buffer>();
  const kept = new Map<string, string>();
  return {
    kept,
    taken,
    async answer(request: ContentRequest): Promise<ContentAnswer> {
      switch (request.do) {
        case 'find_file':
          if (request.name !== 'app.tar') return refused('path_missing');
          return { file: { id: 'f', sha256: sha256(file), size: file.length } };
        case 'read_file':
          return { data: file.toString('base64') };
        case 'open_artifact':
          taken.set(request.name, Buffer.alloc(0));
          return { artifact: { id: request.name, parts: 0 } };
        case 'write_artifact': {
          const before = taken.get(request.artifact) ?? Buffer.alloc(0);
          taken.set(request.artifact, Buffer.concat([before, Buffer.from(request.data, 'base64')]));
          return { artifact: { id: request.artifact, parts: request.part + 1 } };
        }
        case 'close_artifact':
          kept.set(request.artifact, request.sha256);
          return { artifact: { id: request.artifact, parts: 1 } };
      }
    },
  };
}

const leftIn = async (local: string, name: string) => readdir(join(dirname(local), name));

sshTest.each(['upload', 'copy'] as const)(
  'an %s copies a file of the server, without any policy and with a mode of its own',
  async (type) => {
    const t = await setupTransfers({}, noPolicy);
    const bytes = randomBytes(70_000);
    const { answer } = server(bytes);
    const config = { file: 'app.tar', remote_path: `${t.remote}/` };
    const { outcome, report } = await t.run(type, config, { askServer: answer });
    expect(outcome).toMatchObject({ status: 'succeeded' });
    expect((await readFile(join(t.remote, 'app.tar'))).equals(bytes)).toBe(true);
    expect((await stat(join(t.remote, 'app.tar'))).mode & 0o777).toBe(0o644);
    expect(report?.rows).toMatchObject([
      { localPath: 'file app.tar', remotePath: join(t.remote, 'app.tar') },
    ]);
    expect(await leftIn(t.local, 'files/held')).toEqual([]);
  },
);

sshTest('without SFTP a file of the server is copied by SCP', async () => {
  const t = await setupTransfers({ config: ['Subsystem sftp /bin/false'] }, noPolicy);
  const { answer } = server(Buffer.from('by scp'));
  const config = { file: 'app.tar', remote_path: join(t.remote, 'app.tar') };
  expect((await t.run('copy', config, { askServer: answer })).outcome).toMatchObject({ status: 'succeeded' });
  expect(await readFile(join(t.remote, 'app.tar'), 'utf8')).toBe('by scp');
});

sshTest('a file that the server does not give is reported before anything starts on the target', async () => {
  const t = await setupTransfers({}, noPolicy);
  const { answer } = server(Buffer.from('x'));
  const begun: string[] = [];
  const more = {
    askServer: answer,
    beforeStart: async () => {
      begun.push('it');
    },
  };
  const { outcome } = await t.run('upload', { file: 'other.tar', remote_path: join(t.remote, 'a') }, more);
  expect(outcome).toMatchObject({ status: 'failed', reason: 'path_missing' });
  expect(begun).toEqual([]);
});

sshTest(
  'downloaded files become artifacts named by their paths, without links, and leave nothing behind',
  async () => {
    const t = await setupTransfers({}, noPolicy);
    const bytes = randomBytes(600_000);
    await t.put('remote', 'logs/deep/large', bytes);
    await t.put('remote', 'logs/empty', '');
    await mkdir(join(t.remote, 'logs/none'));
    await symlink('empty', join(t.remote, 'logs/inside'));
    await symlink('/etc/hostname', join(t.remote, 'logs/outside'));
    const { answer, kept, taken } = server(Buffer.alloc(0));
    // What the server sends for a job that doesn't say what to do with links.
    const config = { remote_path: join(t.remote, 'logs'), artifact: true, symlinks: 'copy' };
    const { outcome, stdout } = await t.run('download', config, { askServer: answer });
    expect(outcome).toMatchObject({ status: 'succeeded' });
    expect(stdout).not.toContain('link');
    expect(stdout).toContain('2 artifacts kept with the run.');
    expect(Object.fromEntries(kept)).toEqual({
      'logs/deep/large': sha256(bytes),
      'logs/empty': sha256(Buffer.alloc(0)),
    });
    expect(taken.get('logs/deep/large')?.equals(bytes)).toBe(true);
    expect(await leftIn(t.local, 'artifacts')).toEqual([]);
  },
);

sshTest('files that a pattern chooses become artifacts named after its directory', async () => {
  const t = await setupTransfers({}, noPolicy);
  for (const name of ['logs/a.log', 'logs/b.log', 'logs/c.txt', 'odd/*.log'])
    await t.put('remote', name, name);
  for (const [directory, names] of [
    ['logs', ['logs/a.log', 'logs/b.log']],
    // A file that has this very name.
    ['odd', ['odd/*.log']],
  ] as const) {
    const { answer, kept } = server(Buffer.alloc(0));
    const config = { remote_path: join(t.remote, directory, '*.log'), artifact: true };
    const { outcome } = await t.run('download', config, { askServer: answer });
    expect(outcome).toMatchObject({ status: 'succeeded' });
    expect([...kept.keys()].sort()).toEqual(names);
  }
});

sshTest('the time of a step covers the sending of its artifacts', async () => {
  const t = await setupTransfers({}, noPolicy);
  await t.put('remote', 'log', 'a line');
  const { answer } = server(Buffer.alloc(0));
  const now = performance.now.bind(performance);
  let aheadMs = 0;
  using _ = vi.spyOn(performance, 'now').mockImplementation(() => now() + aheadMs);
  const askServer = async (request: ContentRequest) => {
    if (request.do === 'close_artifact') aheadMs = 60_000;
    return answer(request);
  };
  const config = { remote_path: join(t.remote, 'log'), artifact: true };
  const { outcome } = await t.run('download', config, { askServer });
  expect(outcome.executionTimeMs).toBeGreaterThanOrEqual(60_000);
});

sshTest.each(['open_artifact', 'write_artifact', 'close_artifact'] as const)(
  'a server that refuses %s fails the step with its reason, and nothing is left behind',
  async (refusing) => {
    const t = await setupTransfers({}, noPolicy);
    await t.put('remote', 'log', 'a line');
    const { answer, kept } = server(Buffer.alloc(0));
    const askServer = async (request: ContentRequest) =>
      request.do === refusing ? refused('no_space') : answer(request);
    const config = { remote_path: join(t.remote, 'log'), artifact: true };
    const { outcome } = await t.run('download', config, { askServer });
    expect(outcome).toMatchObject({ status: 'failed', reason: 'no_space', message: 'It is no_space.' });
    expect(kept.size).toBe(0);
    expect(await leftIn(t.local, 'artifacts')).toEqual([]);
  },
);

sshTest('a cancel ends the sending of artifacts, even if the server does not answer', async () => {
  const t = await setupTransfers({}, noPolicy);
  await t.put('remote', 'log', 'a line');
  const stop = new AbortController();
  const askServer = (): Promise<ContentAnswer> =>
    new Promise((_, reject) => {
      stop.signal.addEventListener('abort', () => reject(stop.signal.reason));
      stop.abort({ cause: 'cancelled', killGraceMs: 1_000 });
    });
  const config = { remote_path: join(t.remote, 'log'), artifact: true };
  const { outcome } = await t.run('download', config, { askServer, signal: stop.signal });
  expect(outcome).toMatchObject({ status: 'cancelled', reason: 'cancelled' });
  expect(await leftIn(t.local, 'artifacts')).toEqual([]);
});

sshTest(
  'files that are not kept have failed in the report, with why, and only those that are kept count',
  async () => {
    const t = await setupTransfers({}, noPolicy);
    for (const name of ['a', 'b', 'c']) await t.put('remote', `logs/${name}`, 'a line');
    await writeFile(Buffer.from(`${t.remote}/logs/caf\xe9`, 'latin1'), '');
    const { answer, kept } = server(Buffer.alloc(0));
    const askServer = async (request: ContentRequest) =>
      request.do === 'close_artifact' && request.artifact === 'logs/b'
        ? refused('no_space')
        : answer(request);
    const config = { remote_path: join(t.remote, 'logs'), artifact: true };
    const { outcome, report, stdout } = await t.run('download', config, { askServer });
    expect(outcome).toMatchObject({ status: 'failed', reason: 'no_space' });
    expect([...kept.keys()].sort()).toEqual(['logs/a', 'logs/c']);
    expect(stdout).toContain('2 artifacts kept with the run.');
    expect(report?.totals).toMatchObject({ created: 2, failed: 2 });
    const told = report?.rows.map(({ localPath, status, error }) => [localPath, status, error]);
    expect(told?.slice(0, 2).sort()).toEqual([
      ['artifact "logs/caf\\xe9"', 'failed', 'Not kept with the run: its name is not UTF-8 text'],
      ['artifact logs/b', 'failed', 'Not kept with the run: It is no_space.'],
    ]);
    expect(told?.slice(2).sort()).toEqual([
      ['artifact logs/a', 'completed', undefined],
      ['artifact logs/c', 'completed', undefined],
    ]);
  },
);

sshTest('of a step that is stopped before it has sent its artifacts, none is said to be kept', async () => {
  const t = await setupTransfers({}, noPolicy);
  await t.put('remote', 'logs/small', 'a line');
  await t.put('remote', 'logs/zlarge', randomBytes(6_000_000));
  const stop = new AbortController();
  const config = { remote_path: join(t.remote, 'logs'), artifact: true, bandwidth_limit: 2_000 };
  const running = t.run('download', config, {
    askServer: server(Buffer.alloc(0)).answer,
    signal: stop.signal,
  });
  await vi.waitFor(
    async () => {
      const [staged = ''] = await leftIn(t.local, 'artifacts');
      const names = await readdir(join(dirname(t.local), 'artifacts', staged, 'logs'));
      if (!names.includes('small')) throw new Error('it has not arrived');
    },
    { timeout: 10_000 },
  );
  stop.abort({ cause: 'cancelled', killGraceMs: 1_000 });
  const { outcome, report } = await running;
  expect(outcome).toMatchObject({ status: 'cancelled' });
  expect(outcome.message).toMatch(/ Nothing is kept with the run\.$/);
  expect(report?.totals).toMatchObject({ created: 0, failed: 1 });
  const error = 'Not kept with the run: the step was stopped before it was sent to the server';
  expect(report?.rows).toMatchObject([{ localPath: 'artifact logs/small', status: 'failed', error }]);
});

sshTest('an unfinished file is no artifact', async () => {
  const t = await setupTransfers({}, noPolicy);
  await t.put('remote', 'logs/large', randomBytes(6_000_000));
  const { answer, taken } = server(Buffer.alloc(0));
  const config = { remote_path: join(t.remote, 'logs'), artifact: true, bandwidth_limit: 2_000, retries: 0 };
  const running = t.run('download', config, { askServer: answer });
  await vi.waitFor(
    async () => {
      const [staged = ''] = await leftIn(t.local, 'artifacts');
      const folder = join(dirname(t.local), 'artifacts', staged, 'logs');
      const [name = 'none'] = await readdir(folder);
      if ((await stat(join(folder, name))).size < 1_000_000) throw new Error('it has not begun');
    },
    { timeout: 10_000 },
  );
  t.sshd.killSessions();
  expect((await running).outcome).toMatchObject({ status: 'failed', reason: 'transfer_cut' });
  expect([...taken.keys()]).toEqual([]);
});
