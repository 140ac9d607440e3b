// Runs the API calls in the documentation: the token must reach the server, and must not be an argument of curl, which
// every user of the machine can read.
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const run = promisify(execFile);
const root = resolve(import.meta.dirname, '..');
const docs = join(root, 'docs');

const pages = (await readdir(docs, { recursive: true })).filter((name) => name.endsWith('.md'));
const texts = new Map(
  await Promise.all(
    [
      ...pages.map((name) => join('docs', name)),
      'README.md',
      'server/src/http/description/docs-page/render-docs-page.ts',
    ].map(async (name) => [name, await readFile(join(root, name), 'utf8')] as const),
  ),
);
/** The lines that make the file of headers, and those that call the API with it. */
const setUps = [...texts].flatMap(([name, text]) => {
  const lines = text.split('\n').filter((line) => /^(\(umask 077; printf|HEADERS=|api\(\) )/.test(line));
  return lines.some((line) => line.startsWith('(umask')) ? [[name, lines] as const] : [];
});

test('no line of the documentation passes a token to curl as an argument', () => {
  const wrong = [...texts].flatMap(([name, text]) =>
    text
      .split('\n')
      .filter((line) =>
        /(-H|--header)[ =]*["'](Authorization: ?\w|\$)|--oauth2-bearer|-u ["']?\$TOKEN/i.test(line),
      )
      .map((line) => `${name}: ${line}`),
  );
  expect(wrong).toEqual([]);
});

test.each(setUps)('%s: its lines send the token without showing it to anybody', async (_, lines) => {
  const dir = await mkdtemp(join(tmpdir(), 'opsconductor-curl-'));
  const got: (string | undefined)[] = [];
  const server = createServer((request, response) => {
    got.push(request.headers.authorization);
    response.end('{}');
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    await writeFile(join(dir, 'token'), 'oct_secret\n');
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    const call = lines.some((line) => line.startsWith('api()')) ? 'api' : 'curl -sS -H @headers';
    // Records the arguments of curl.
    const noting = `curl() { printf '%s\\n' "$@" >>arguments; command curl "$@"; }`;
    await run('sh', ['-euc', [noting, ...lines, `${call} ${url} >answer`].join('\n')], { cwd: dir });
    expect(got).toEqual(['Bearer oct_secret']);
    expect(await readFile(join(dir, 'arguments'), 'utf8')).not.toContain('oct_secret');
    expect((await stat(join(dir, 'headers'))).mode & 0o777).toBe(0o600);
  } finally {
    server.close();
    server.closeAllConnections();
    await rm(dir, { recursive: true });
  }
});
