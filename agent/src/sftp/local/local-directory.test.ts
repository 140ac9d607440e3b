import { execFileSync } from 'node:child_process';
import {
  chownSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { temporaryName } from '../tree/temporary-name.ts';
import { LocalTree } from './local-tree.ts';

async function setup(more: { path: string; mayWrite: boolean }[] = []) {
  const dir = mkdtempSync(join(tmpdir(), 'opsconductor-local-'));
  onTestFinished(() => rmSync(dir, { recursive: true }));
  const tree = new LocalTree({ fileRoots: [{ path: dir, mayWrite: true }, ...more] });
  onTestFinished(() => tree.close());
  const { parent } = await tree.locate(dir, { write: true, create: false });
  return { dir, parent };
}

test('a link in one root is followed although another root is missing', async () => {
  const { dir, parent } = await setup([{ path: '/nowhere/unmounted', mayWrite: false }]);
  onTestFinished(() => parent.close());
  writeFileSync(join(dir, 'f'), '');
  symlinkSync('f', join(dir, 'link'));
  const followed = await parent.follow('link', { write: false });
  expect(followed?.entry).toMatchObject({ name: 'f', kind: 'file' });
  await followed?.directory.close();
});

test('an error of the disk is reported for the file that it is about', async () => {
  const { dir, parent } = await setup();
  writeFileSync(join(dir, 'f'), '');
  const source = await parent.openSource('f');
  const sink = await parent.openSink('g', { size: 1, mode: 0o600 });
  // Closed descriptors stand in for a failing disk.
  await Promise.all([source.close(), sink.discard(false), parent.close()]);
  await expect(source.hasChanged()).rejects.toMatchObject({
    reason: 'transfer_failed',
    message: expect.stringContaining(`${dir}/f on the agent could not be read: `),
  });
  await expect(sink.hash(1)).rejects.toMatchObject({
    reason: 'transfer_failed',
    message: expect.stringContaining(`${dir}/g on the agent could not be read back: `),
  });
  expect(await parent.freeBytes()).toBeUndefined();
});

test('among small files read together, one that does not fit is left out, and those after it are read', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'opsconductor-local-'));
  onTestFinished(() => rmSync(dir, { recursive: true }));
  const tree = new LocalTree({ fileRoots: [{ path: dir, mayWrite: false }] });
  onTestFinished(() => tree.close());
  const { parent } = await tree.locate(dir, { write: false, create: false });
  onTestFinished(() => parent.close());
  // The second has grown since it was listed.
  for (const [name, text] of Object.entries({ a: 'one', b: 'grown', c: 'two' }))
    writeFileSync(join(dir, name), text);
  const memory = new SharedArrayBuffer(12);
  const read = await parent.readWhole?.(['a', 'b', 'c'], new Uint8Array(memory, 2, 7));
  expect(read?.map((file) => file?.bytes.toString())).toEqual(['one', undefined, 'two']);
  expect(Buffer.from(memory).toString()).toBe('\0\0onetwo\0\0\0\0');
});

test('a link in place of a listed file is not followed, and a pipe is not waited for', async () => {
  const { dir, parent } = await setup();
  onTestFinished(() => parent.close());
  const elsewhere = mkdtempSync(join(tmpdir(), 'opsconductor-elsewhere-'));
  onTestFinished(() => rmSync(elsewhere, { recursive: true }));
  writeFileSync(join(elsewhere, 'shadow'), 'secret', { mode: 0o600 });
  symlinkSync(join(elsewhere, 'shadow'), join(dir, 'link'));
  execFileSync('mkfifo', [join(dir, 'pipe')]);
  const into = () => new Uint8Array(new SharedArrayBuffer(100));
  expect(await parent.readWhole?.(['link', 'pipe'], into())).toEqual([undefined, undefined]);
  await expect(parent.openSource('link')).rejects.toMatchObject({ reason: 'path_refused' });
  await expect(parent.openSource('pipe')).rejects.toMatchObject({
    message: expect.stringContaining('pipe on the agent is not a regular file'),
  });
  await expect(parent.setAttributes('link', { mode: 0o666 })).rejects.toMatchObject({
    reason: 'path_refused',
  });
  expect(statSync(join(elsewhere, 'shadow')).mode & 0o777).toBe(0o600);
});

const unfinished = { size: 9, mode: 0o600, resumeKey: 'k' };

test('what an earlier try left is resumed', async () => {
  const { dir, parent } = await setup();
  onTestFinished(() => parent.close());
  const first = await parent.openSink('g', unfinished);
  expect(first.keptBytes).toBe(0);
  await first.write(Buffer.from('first'), 5, 0);
  await first.discard(true);
  const next = await parent.openSink('g', unfinished);
  expect(next.keptBytes).toBe(5);
  await next.write(Buffer.from('next'), 4, 5);
  await next.commit({ mode: 0o640 }, 9);
  expect(readdirSync(dir)).toEqual(['g']);
  expect(readFileSync(join(dir, 'g'), 'utf8')).toBe('firstnext');
});

test('a file that has the name of an unfinished one but is not ours alone is not written to', async () => {
  const { dir, parent } = await setup();
  onTestFinished(() => parent.close());
  const [place, victim] = [join(dir, temporaryName('k')), join(dir, 'victim')];
  writeFileSync(victim, 'untouched');
  const puts: [string, () => void][] = [
    ['a link', () => symlinkSync(victim, place)],
    ['a hard link', () => linkSync(victim, place)],
    ['a directory', () => mkdirSync(place)],
    ['a pipe', () => execFileSync('mkfifo', [place])],
  ];
  if (process.getuid?.() === 0) {
    const another = () => {
      writeFileSync(place, 'of another');
      chownSync(place, 65_534, 65_534);
    };
    puts.push(["another user's file", another]);
  }
  for (const [what, put] of puts) {
    put();
    await expect(parent.openSink('g', unfinished), what).rejects.toMatchObject({
      reason: 'path_refused',
      message: 'Something else is in the place of the unfinished file.',
    });
    rmSync(place, { recursive: true });
  }
  expect(readFileSync(victim, 'utf8')).toBe('untouched');
});

test('no file or directory becomes set-uid on the agent, whatever it was at the source', async () => {
  const { dir, parent } = await setup();
  onTestFinished(() => parent.close());
  const sink = await parent.openSink('large', { size: 0, mode: 0o4755 });
  await sink.commit({}, 0);
  const asked = await parent.openSink('asked', { size: 0, mode: 0o600 });
  await asked.commit({ mode: 0o6755 }, 0);
  const bytes = Buffer.from('#!');
  expect(await parent.writeWhole?.([{ name: 'small', bytes, attributes: { mode: 0o4755 } }])).toEqual([true]);
  await parent.make('folder', 0o3755);
  await parent.make('later', 0o700);
  await parent.setAttributes('later', { mode: 0o2755 });
  const names = ['large', 'asked', 'small', 'folder', 'later'];
  expect(names.filter((name) => (statSync(join(dir, name)).mode & 0o7000) !== 0)).toEqual([]);
});
