// `npm start` as a newcomer experiences it: real processes from a fresh copy of the sources.
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { ApiClient } from './support/api-client.ts';
import { type Account, type Checkout, makeCheckout } from './support/checkout.ts';
import { NpmStart, type NpmStartOptions } from './support/npm-start.ts';
import { kill } from './support/watched-process.ts';

// Each step waits for its own lines, and reports what was printed if they don't appear.
vi.setConfig({ testTimeout: 180_000 });

const nobody: Account = { uid: 65_534, gid: 65_534 };
const isRoot = process.getuid?.() === 0;
const token = randomBytes(24).toString('hex');

const accounts: { who: string; account: Account | undefined; missing: string | undefined }[] = [
  { who: 'the user of the suite', account: undefined, missing: undefined },
  {
    who: 'a plain user',
    account: nobody,
    missing: !isRoot
      ? 'the suite itself runs as a plain user'
      : existsSync('/usr/bin/setpriv')
        ? undefined
        : 'changing the user needs setpriv (util-linux)',
  },
];

function start(options: NpmStartOptions): NpmStart {
  const product = new NpmStart(options);
  onTestFinished(() => product.killAll());
  return product;
}

/** Runs a job on the demo's target, through the demo's agent. */
async function runSample(api: ApiClient, name: string) {
  const { body: jobs } = await api.get<{ items: { id: number; name: string }[] }>('/api/v1/jobs');
  const { body: targets } = await api.get<{ items: { id: number }[] }>('/api/v1/targets');
  const job = jobs.items.find((item) => item.name === name);
  const target = targets.items[0];
  if (job === undefined || target === undefined) throw new Error('the demo is not there');
  return api.run(job.id, [target.id]);
}

/** Starts a command on the demo's target that takes longer than anybody waits; resolves when it runs. */
async function startLong(api: ApiClient): Promise<void> {
  const { body: targets } = await api.get<{ items: { id: number }[] }>('/api/v1/targets');
  const job = await api.made<{ id: number }>('/api/v1/jobs', {
    name: 'Take long',
    steps: [{ name: 'wait', type: 'ssh.exec', config: { command: 'sleep 120' } }],
  });
  const run = await api.made<{ id: number }>(`/api/v1/jobs/${job.id}/run`, {
    targetIds: targets.items.map(({ id }) => id),
  });
  const read = () => api.get<{ status: string }>(`/api/v1/runs/${run.id}`);
  await expect.poll(async () => (await read()).body.status).toBe('running');
}

async function everythingIsGone(product: NpmStart): Promise<void> {
  await vi.waitFor(() => expect(product.processes()).toEqual([]), { timeout: 10_000 });
}

describe.each(accounts)('npm start by $who', ({ account, missing }) => {
  let checkout: Checkout;

  beforeAll(async () => {
    // Only one of them shows what a first start builds.
    if (missing === undefined) checkout = await makeCheckout({ account, isBuilt: account !== undefined });
  });
  afterAll(async () => {
    if (missing === undefined) await checkout.remove();
  });

  const startHere = (args: string[], rest: Partial<NpmStartOptions> = {}) =>
    start({
      checkout,
      dataDir: join(checkout.home, 'data'),
      args: ['--port', '0', ...args],
      env: { OPSCONDUCTOR_BOOTSTRAP_TOKEN: token },
      ...(account === undefined ? {} : { account }),
      ...rest,
    });

  test('--help prints the usage, and builds no more than it takes', async ({ skip }) => {
    if (missing !== undefined) skip(missing);
    const product = startHere(['--help']);
    await product.says(/^Usage: npm start -- \[options\]$/m);
    expect(await product.ended()).toBe(0);
    // The other checkout has them from the beginning.
    if (account === undefined) {
      const { folder } = checkout;
      expect(existsSync(join(folder, '.cache/build/server.mjs'))).toBe(true);
      expect(existsSync(join(folder, '.cache/build/agent.mjs'))).toBe(false);
    }
    expect(existsSync(join(checkout.home, 'data'))).toBe(false);
  });

  test('the first start shows a run live and gives a one-time sign-in, and Ctrl-C leaves nothing behind', async ({
    skip,
  }) => {
    if (missing !== undefined) skip(missing);
    // Once from the beginning, and once from where an earlier start was interrupted.
    if (account === undefined) {
      const cutOff = startHere([]);
      await cutOff.says(/First start: making a segment/);
      await cutOff.killAll();
    }
    const product = startHere([]);
    const [, url = ''] = await product.says(/OpsConductor is at (http:\/\/127\.0\.0\.1:\d+)/);
    await product.says(/ {3}account {2}(?!root)\w+/);
    // Live: a line appears before the next one is written, a second later.
    await product.says(/^ +3 …$/m);
    expect(product.output).not.toMatch(/^ +1 …$/m);
    await product.says(/This line came through the agent, live\./);
    await product.says(/err And this one was written to standard error/);
    await product.says(/Run 1 succeeded\. See it at http:\/\/127\.0\.0\.1:\d+\/runs\/1/);
    const [, code = ''] = await product.says(/\/#code=(\S+)/);
    // Its log is no part of what people read, and comes after it.
    await product.says(/Ctrl-C stops everything\.\n\{"level":"info".*"msg":"agent connected"/s);
    expect(/First start: .*Ctrl-C stops/s.exec(product.output)?.[0]).not.toContain('{"level"');

    const anyone = new ApiClient({ url });
    expect((await anyone.get(`/api/v1/sign-in/exchange?code=${code}`)).status).toBe(405);
    const first = await anyone.post<{ name: string }>('/api/v1/sign-in/exchange', { code });
    expect(first).toMatchObject({ status: 200, body: { name: 'admin' } });
    expect(first.headers['set-cookie']?.[0]).toMatch(/HttpOnly/);
    expect((await anyone.post('/api/v1/sign-in/exchange', { code })).status).toBe(401);
    expect((await anyone.get('/api/v1/jobs')).status).toBe(401);

    const api = new ApiClient({ url, token });
    const failed = await runSample(api, 'Fail on purpose');
    expect(failed.status).toBe('failed');
    expect(failed.steps.map((step) => step.status)).toEqual(['succeeded', 'failed', 'skipped']);
    expect((await anyone.get<string>('/')).text).toContain('<!doctype html>');

    expect(await product.interrupt()).toBe(0);
    expect(product.output).toContain('Stopped. All data is kept.');
    await everythingIsGone(product);
  });

  // That PostgreSQL of an ordinary user is found again and adopted is tested in embedded-postgres-placement.test.ts.
  if (account !== undefined) return;

  test('a second start keeps all data and ignores a new bootstrap token; after kill -9, the next start takes over or starts again', async () => {
    const other = randomBytes(24).toString('hex');
    const product = startHere([], { cwd: '/', env: { OPSCONDUCTOR_BOOTSTRAP_TOKEN: other } });
    const [, url = ''] = await product.says(/OpsConductor is at (\S+)/);
    await product.says(/\/#code=(\S+)/);
    expect(product.output).not.toContain('First start');
    expect((await new ApiClient({ url, token: other }).get('/api/v1/me')).status).toBe(401);
    const api = new ApiClient({ url, token });
    const { body: runs } = await api.get<{ items: { id: number; status: string }[] }>('/api/v1/runs');
    expect(runs.items.map(({ id, status }) => [id, status])).toEqual([
      [2, 'failed'],
      [1, 'succeeded'],
    ]);
    expect((await runSample(api, 'Look around')).output.join('')).toContain('through the agent, live.');

    // Only the server.
    const postgres = product.processes(/bin\/postgres /);
    const demo = product.processes(/agent\.mjs run|ssh-server-main/);
    expect(postgres).toHaveLength(1);
    expect(demo).toHaveLength(2);
    await product.killServer();
    expect(product.processes(/bin\/postgres |agent\.mjs run|ssh-server-main/)).toEqual(
      expect.arrayContaining([...postgres, ...demo]),
    );
    const heir = startHere([], { isDirect: true });
    const [, heirUrl = ''] = await heir.says(/OpsConductor is at (\S+)/);
    await heir.says(/\/#code=(\S+)/);
    expect(heir.output).toContain('PostgreSQL 18.4 was left running');
    expect(heir.processes(/bin\/postgres /)).toEqual(postgres);
    const run = await runSample(new ApiClient({ url: heirUrl, token }), 'Check disk space');
    expect(run.steps[0]?.status).toMatch(/succeeded|failed/);
    expect(run.steps[0]?.reason ?? 'exit_code').toBe('exit_code');

    // Everything.
    for (const { pid } of heir.processes()) kill(pid);
    await heir.ended();
    await everythingIsGone(heir);

    const last = startHere([], { isDirect: true });
    const [, lastUrl = ''] = await last.says(/OpsConductor is at (\S+)/);
    await last.says(/\/#code=(\S+)/);
    const again = await runSample(new ApiClient({ url: lastUrl, token }), 'Look around');
    expect(again.status).toBe('succeeded');

    // The agent would wait for a command that goes on, and the person doesn't.
    await startLong(new ApiClient({ url: lastUrl, token }));
    const ended = last.interrupt();
    await last.says(/agent finishes what it runs/);
    void last.interrupt();
    expect(await ended).toBe(130);
    await everythingIsGone(last);
  });

  test('the demo works on when the server gets a certificate, and when it has none again', async () => {
    const dataDir = join(checkout.home, 'data');
    // It ran without one until now.
    for (const args of [['--tls'], []]) {
      const product = startHere(args, { isDirect: true });
      const [, url = ''] = await product.says(/OpsConductor is at (\S+)/);
      await product.says(/\/#code=(\S+)/);
      const ca = args.length === 0 ? {} : { ca: await readFile(join(dataDir, 'tls/ca.pem'), 'utf8') };
      expect(await runSample(new ApiClient({ url, token, ...ca }), 'Look around')).toMatchObject({
        status: 'succeeded',
      });
      expect(await product.interrupt()).toBe(0);
      await everythingIsGone(product);
    }
  });

  test('--no-demo starts empty, and so does every later start, even with a damaged demo', async () => {
    const dataDir = join(checkout.home, 'empty');
    // Ctrl-C also works in mid start, and what was begun is continued later.
    const cutOff = startHere(['--no-demo'], { dataDir, isDirect: true });
    await cutOff.says(/Creating the database/);
    expect(await cutOff.interrupt()).toBe(0);
    expect(cutOff.output).toMatch(/Stopping…\n(?!.*#code=)/s);
    await everythingIsGone(cutOff);
    for (const more of [['--no-demo'], []]) {
      const product = startHere(more, { dataDir, isDirect: true });
      const [, url = ''] = await product.says(/OpsConductor is at (\S+)/);
      if (more.length === 0) await product.says(/The demo can’t be started again.*demo\.json is damaged/);
      await product.says(/\/#code=(\S+)/);
      const api = new ApiClient({ url, token });
      for (const what of ['jobs', 'runs', 'segments', 'targets', 'agents', 'credentials']) {
        expect((await api.get(`/api/v1/${what}`)).body).toMatchObject({ items: [], nextCursor: null });
      }
      expect(product.processes(/agent\.mjs|ssh-server-main/)).toEqual([]);
      expect(await product.interrupt()).toBe(0);
      await everythingIsGone(product);
      // The way a failed disk would leave it.
      await mkdir(join(dataDir, 'demo'), { recursive: true });
      await writeFile(join(dataDir, 'demo/demo.json'), '');
    }
  });

  test('a busy port is reported with a fix, and nothing stays running', async () => {
    const dataDir = join(checkout.home, 'empty');
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    const { port } = other.address() as AddressInfo;
    const product = startHere([], { dataDir, args: ['--port', String(port)] });
    expect(await product.ended(90_000)).not.toBe(0);
    other.close();
    expect(product.output).toContain(
      `Can’t listen on 127.0.0.1, port ${port}: another program listens there.`,
    );
    expect(product.output).toContain('choose a port with --port');
    // Nothing is begun that would have to end again.
    expect(product.output).not.toContain('PostgreSQL');
    expect(product.output).not.toMatch(/^ +at .*\.ts/m);
    await everythingIsGone(product);
  });

  test('all wrong settings are named at once, and nothing is started', async () => {
    const dataDir = join(checkout.home, 'wrong');
    const product = start({
      checkout,
      dataDir,
      args: ['--port', '99999', '--listen', 'nowhere', '--bogus', '--tls-cert', '/no/such.pem'],
      env: {
        OPSCONDUCTOR_BOOTSTRAP_TOKEN: 'too-short',
        DATABASE_URL: 'mysql://u:secret@h/db',
        LOG_LEVEL: 'loud',
        OPSCONDUCTOR_DEMO: 'perhaps',
      },
    });
    expect(await product.ended(90_000)).not.toBe(0);
    const wrong = [
      '--port',
      '--listen',
      '--bogus',
      '--tls-cert',
      'BOOTSTRAP_TOKEN',
      'DATABASE_URL',
      'LOG_LEVEL',
      'DEMO',
    ];
    for (const name of wrong) expect(product.output).toMatch(new RegExp(`^\\S*${name}\\S*: `, 'm'));
    expect(product.output).not.toMatch(/too-short|secret@/);
    expect(existsSync(dataDir)).toBe(false);
  });
});
