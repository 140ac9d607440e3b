import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { setupApp, type TestApp } from '../testing.ts';

let t: TestApp;
let folder: string;
let problems: string[] = [];
let hangs: Promise<string[]> | undefined;
let isOutputRefused = false;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'opsconductor-probes-'));
  t = await setupApp(() => [], {
    probes: {
      notReady: () => hangs ?? Promise.resolve(problems),
      isOutputRefused: () => isOutputRefused,
      readyWithinMs: 20,
      caPem: '-----BEGIN CERTIFICATE-----\n',
      agentBundle: async () => join(folder, 'agent.mjs'),
    },
  });
});
afterAll(async () => {
  await t.close();
  await rm(folder, { recursive: true });
});

test('a live process is healthy; it is ready when nothing is missing, and does not reveal what is missing', async () => {
  expect((await t.request('GET', '/healthz')).status).toBe(200);
  expect((await t.request('GET', '/readyz')).status).toBe(200);
  problems = ['postgres://db.internal does not answer'];
  const notReady = await t.request('GET', '/readyz');
  expect([notReady.status, await notReady.text()]).toEqual([503, 'not ready\n']);
  expect((await t.request('GET', '/healthz')).status).toBe(200);
});

test('a server that can not store output says so, and stays in use: all else works, and another has the same database', async () => {
  problems = [];
  isOutputRefused = true;
  const degraded = await t.request('GET', '/readyz');
  expect([degraded.status, await degraded.text()]).toEqual([
    200,
    'ready, but degraded: output can not be stored\n',
  ]);
  isOutputRefused = false;
  const ready = await t.request('GET', '/readyz');
  expect([ready.status, await ready.text()]).toEqual([200, 'ready\n']);
});

test('a database that does not answer keeps no probe waiting', async () => {
  let end: (problems: string[]) => void = () => {};
  hangs = new Promise((resolve) => {
    end = resolve;
  });
  expect((await t.request('GET', '/readyz')).status).toBe(503);
  expect((await t.request('GET', '/readyz')).status).toBe(503);
  end([]);
  hangs = undefined;
  problems = [];
  await expect.poll(async () => (await t.request('GET', '/readyz')).status).toBe(200);
});

test('the private CA’s certificate can be fetched for pinning', async () => {
  expect(await (await t.request('GET', '/ca.pem')).text()).toContain('BEGIN CERTIFICATE');
});

test('the agent is served with its digest, and again after it was rebuilt', async () => {
  for (const source of ['first build', 'second build!']) {
    await writeFile(join(folder, 'agent.mjs'), source);
    const digest = createHash('sha256').update(source);
    const response = await t.request('GET', '/agent.mjs');
    expect(await response.text()).toBe(source);
    const base64 = digest.copy().digest('base64');
    expect(response.headers.get('repr-digest')).toBe(`sha-256=:${base64}:`);
    const etag = response.headers.get('etag') ?? '';
    expect(etag).toBe(`"${digest.digest('hex')}"`);
    expect((await t.request('GET', '/agent.mjs', { headers: { 'If-None-Match': etag } })).status).toBe(304);
  }
});

test('HEAD answers like GET without a body', async () => {
  const response = await t.request('HEAD', '/agent.mjs');
  expect([response.status, await response.text()]).toEqual([200, '']);
});
