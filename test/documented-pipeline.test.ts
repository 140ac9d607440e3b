// Runs the script for pipelines in docs/user-guide.md against an API that loses answers.
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { ensureScriptTools, type Program } from './support/packages.ts';

const guide = await readFile(resolve(import.meta.dirname, '../docs/user-guide.md'), 'utf8');
const [, script = ''] = /```sh\n(#!\/bin\/sh\n# deploy\.sh [\s\S]*?)```/.exec(guide) ?? [];
const tools = await ensureScriptTools();
const missing = 'missing' in tools ? tools.missing : undefined;
const toolsEnv = 'missing' in tools ? {} : environmentOf([tools.curl, tools.jq]);

/** The environment in which these programs are found; of those that were unpacked, their libraries, too. */
function environmentOf(programs: readonly Program[]): Record<string, string> {
  const env = Object.assign({}, ...programs.map((program) => program.env)) as Record<string, string>;
  const folders = programs.map(({ path }) => dirname(path));
  return { ...env, PATH: [...folders, process.env.PATH].join(delimiter) };
}

/** The first start is made, and its answer lost; the first two questions after it are answered 503. */
async function setup(statuses: readonly string[]) {
  const folder = await mkdtemp(join(tmpdir(), 'opsconductor-pipeline-'));
  const keys: (string | undefined)[] = [];
  const left = [...statuses];
  let refusals = 2;
  const answer = (request: IncomingMessage, response: ServerResponse) => {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://x');
    const say = (body: unknown, status = 200) => response.writeHead(status).end(JSON.stringify(body));
    if (request.method === 'POST') {
      keys.push(request.headers['idempotency-key'] as string | undefined);
      return keys.length === 1 ? request.socket.destroy() : say({ id: 7 }, 201);
    }
    if (refusals > 0) {
      refusals -= 1;
      return response.writeHead(503).end();
    }
    if (pathname === '/runs/7') return say({ status: left.length > 1 ? left.shift() : left[0] });
    if (pathname.endsWith('/output')) return response.end(`printed by ${pathname.split('/')[4]}\n`);
    const page = searchParams.get('cursor') === 'next' ? 2 : 1;
    const [targetRun, step] = [
      { id: page, targetName: `web-${page}` },
      { id: page + 10, targetRunId: page },
    ];
    const steps = [{ ...step, name: 'a step', status: 'succeeded', exitCode: 0, attempts: 2 - page }];
    return say({ targetRuns: [targetRun], steps, nextCursor: page === 1 ? 'next' : null });
  };
  const server = createServer((request, response) => {
    request.resume().on('end', () => answer(request, response));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  await writeFile(join(folder, 'deploy.sh'), script);
  await writeFile(join(folder, 'headers'), 'Authorization: Bearer oct_x\n');
  const OPSC = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    keys,
    run: () =>
      new Promise<{ code: number | null; stdout: string; stderr: string }>((done) => {
        const env = { ...toolsEnv, OPSC, JOB: '4' };
        const child = execFile('sh', ['deploy.sh', '2.4.1'], { cwd: folder, env }, (_, stdout, stderr) =>
          done({ code: child.exitCode, stdout, stderr }),
        );
      }),
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
      await rm(folder, { recursive: true });
    },
  };
}

test('the script sends a lost start again with its key, and ends as its run does', async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const endings = { succeeded: 0, partial: 1, unknown: 1 };
  await Promise.all(
    Object.entries(endings).map(async ([last, code]) => {
      await using t = await setup(last === 'succeeded' ? ['queued', last] : [last]);
      const stdout = [
        'run 7',
        '== web-1, a step: succeeded, exit code 0',
        'printed by 11',
        '== web-2, a step: succeeded, exit code 0',
        `run 7: ${last}`,
        '',
      ];
      expect(await t.run()).toEqual({ code, stdout: stdout.join('\n'), stderr: expect.any(String) });
      expect(t.keys).toEqual([expect.stringMatching(/^[0-9a-f-]{36}$/), t.keys[0]]);
    }),
  );
}, 60_000);
