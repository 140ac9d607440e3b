import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { Agent, request } from 'node:https';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { loadOrCreateServerTls } from '../tls/server-tls.ts';
import { Listener } from './listener.ts';

async function setup() {
  const directory = await mkdtemp(join(tmpdir(), 'listener-'));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  const tls = await loadOrCreateServerTls({ directory, hostNames: ['localhost'] });
  const listener = await Listener.start({ address: '127.0.0.1', port: 0, tls });
  const agent = new Agent({ keepAlive: true, ca: tls.caPem });
  onTestFinished(() => agent.destroy());
  return {
    listener,
    /** The status of the answer. */
    async get(): Promise<number> {
      const asked = request({ host: '127.0.0.1', port: listener.port, agent }).end();
      const [response] = await once(asked, 'response');
      response.resume();
      await once(response, 'end');
      return response.statusCode;
    },
  };
}

/** TLS itself gives such a client up only after half a minute. */
const timeout = 15_000;

test('a client that begins a TLS handshake and then sends nothing does not delay closing', {
  timeout,
}, async () => {
  const t = await setup();
  const silent = connect(t.listener.port, '127.0.0.1');
  silent.on('error', () => undefined);
  const ended = once(silent, 'close');
  await once(t.listener.server, 'connection');
  // The first bytes of a handshake, and no more.
  silent.write(Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00]));
  await t.listener.close();
  await ended;
});

test('a request that is being answered when the listener closes is still answered', async () => {
  const t = await setup();
  expect(await t.get()).toBe(503);
  let answer = () => {};
  const arrived = new Promise<void>((resolve) => {
    t.listener.open((_request, response) => {
      answer = () => void response.end('late');
      resolve();
    });
  });
  const status = t.get();
  await arrived;
  t.listener.drain();
  const closed = t.listener.close();
  answer();
  expect(await status).toBe(200);
  await closed;
});
