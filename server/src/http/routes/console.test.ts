import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Console, loadConsole } from './console.ts';

const script = `console.log(${'1'.repeat(2_000)})`;
let folder: string;
let site: Console;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'opsconductor-console-'));
  await mkdir(join(folder, 'dist/assets'), { recursive: true });
  await writeFile(join(folder, 'dist/index.html'), '<!doctype html><title>Console</title>');
  await writeFile(join(folder, 'dist/assets/index-DAbc1234.js'), script);
  await writeFile(join(folder, 'dist/favicon.svg'), '<svg/>');
  await writeFile(join(folder, 'secret.txt'), 'hunter2');
  await symlink(join(folder, 'secret.txt'), join(folder, 'dist/linked.txt'));
  site = await loadConsole(join(folder, 'dist'));
});
afterAll(() => rm(folder, { recursive: true }));

async function get(path: string, headers: Record<string, string> = {}): Promise<Response> {
  const response = await site.answer(new Request(`http://localhost${path}`, { headers }));
  if (response === undefined) throw new Error(`nothing at ${path}`);
  return response;
}

test('hashed assets are cached forever, everything else is revalidated', async () => {
  const kept = async (path: string) => (await get(path)).headers.get('cache-control');
  expect(await kept('/assets/index-DAbc1234.js')).toBe('public, max-age=31536000, immutable');
  expect(await kept('/favicon.svg')).toBe('no-cache');
  expect(await kept('/')).toBe('no-cache');
});

test('every other address gets the console’s page, except missing assets', async () => {
  for (const path of ['/', '/runs/12', '/index.html'])
    expect(await (await get(path)).text()).toContain('Console');
  expect(site.answer(new Request('http://localhost/assets/index-old.js'))).toBeUndefined();
  expect(site.answer(new Request('http://localhost/', { method: 'POST' }))).toBeUndefined();
});

test('a script is sent compressed to clients that accept gzip, and uncompressed to others', async () => {
  const packed = await get('/assets/index-DAbc1234.js', { 'Accept-Encoding': 'br, gzip' });
  expect(packed.headers.get('content-encoding')).toBe('gzip');
  expect(gunzipSync(Buffer.from(await packed.arrayBuffer())).toString()).toBe(script);
  const again = await get('/assets/index-DAbc1234.js', { 'Accept-Encoding': 'gzip' });
  expect(gunzipSync(Buffer.from(await again.arrayBuffer())).toString()).toBe(script);
  const refused = await get('/assets/index-DAbc1234.js', { 'Accept-Encoding': 'gzip;q=0, br' });
  expect(refused.headers.get('content-encoding')).toBeNull();
  expect(await refused.text()).toBe(script);
});

test('a client that already has it gets 304', async () => {
  const etag = (await get('/favicon.svg')).headers.get('etag') ?? '';
  expect((await get('/favicon.svg', { 'If-None-Match': etag })).status).toBe(304);
});

test('no path leads out of the folder, and links in it are not followed', async () => {
  const paths = [
    '/../secret.txt',
    '/..%2fsecret.txt',
    '/%2e%2e/secret.txt',
    '/assets/..%2f..%2fsecret.txt',
    '//secret.txt',
    '/linked.txt',
    '/..\\secret.txt',
  ];
  for (const path of paths) {
    const response = await site.answer(new Request(`http://localhost${path}`));
    expect((await response?.text()) ?? '').not.toContain('hunter2');
  }
});

test('if the console was not built, a page says how to build it', async () => {
  const empty = await loadConsole(join(folder, 'none'));
  expect(await (await empty.answer(new Request('http://localhost/')))?.text()).toContain('npm start');
});
