import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, request } from 'node:https';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { expect, onTestFinished, test } from 'vitest';
import { loadOrCreateServerTls } from '../tls/server-tls.ts';
import { paceTls } from './pace-tls.ts';

/** A server that does as many TLS handshakes at a time as the test lets in. */
async function setup() {
  const directory = await mkdtemp(join(tmpdir(), 'pace-tls-'));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  const { certPem, keyPem, caPem } = await loadOrCreateServerTls({ directory, hostNames: ['localhost'] });
  const server = createServer({ cert: certPem, key: keyPem }, (_, response) => response.end('hello'));
  const door = { waiting: [] as (() => void)[], left: 0 };
  paceTls(server, {
    enter: () => new Promise((resolve) => door.waiting.push(resolve)),
    leave: () => {
      door.left += 1;
    },
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  const { port } = server.address() as AddressInfo;
  const get = async () => {
    const sent = request({ host: '127.0.0.1', port, ca: caPem, agent: false }).end();
    const [reply] = await once(sent, 'response');
    return Buffer.concat(await reply.toArray()).toString();
  };
  const letIn = async () => {
    await expect.poll(() => door.waiting.length).toBeGreaterThan(0);
    door.waiting.shift()?.();
  };
  return { server, door, port, get, letIn };
}

test('a connection is served when its turn comes, and gives its place up once it is encrypted', async () => {
  const t = await setup();
  const answers = [t.get(), t.get()];
  await expect.poll(() => t.door.waiting.length).toBe(2);
  await t.letIn();
  expect(await Promise.race(answers)).toBe('hello');
  expect(t.door).toMatchObject({ left: 1, waiting: [expect.anything()] });
  await t.letIn();
  expect(await Promise.all(answers)).toEqual(['hello', 'hello']);
  expect(t.door.left).toBe(2);
});

test('one that says nothing, or has gone while it waited, keeps no place', async () => {
  const t = await setup();
  const silent = connect(t.port, '127.0.0.1');
  onTestFinished(() => void silent.destroy());
  await t.letIn();
  await expect.poll(() => t.door.left).toBe(1);
  const gone = connect(t.port, '127.0.0.1');
  await expect.poll(() => t.door.waiting.length).toBe(1);
  gone.resetAndDestroy();
  await t.letIn();
  await expect.poll(() => t.door.left).toBe(2);
  const answer = t.get();
  await t.letIn();
  expect(await answer).toBe('hello');
});

test('of several whose address is not known any more, as they were reset, each gives its place up', async () => {
  const t = await setup();
  for (let n = 0; n < 2; n += 1) {
    const reset = new PassThrough();
    onTestFinished(() => void reset.destroy());
    t.server.emit('connection', reset);
    await t.letIn();
  }
  await expect.poll(() => t.door.left).toBe(2);
});

test('who still waits when the server takes no connections any more does not keep it from ending', async () => {
  const t = await setup();
  const waiting = connect(t.port, '127.0.0.1');
  onTestFinished(() => void waiting.destroy());
  await expect.poll(() => t.door.waiting.length).toBe(1);
  const closed = once(t.server, 'close');
  t.server.close();
  await t.letIn();
  await closed;
  expect(t.door.left).toBe(1);
});
