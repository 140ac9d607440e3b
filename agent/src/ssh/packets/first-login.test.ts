// Alone: in a process where somebody has logged in before, packets are already decrypted by us.
import { once } from 'node:events';
import type { AddressInfo, Socket } from 'node:net';
import ssh2 from 'ssh2';
import { expect, onTestFinished, test } from 'vitest';
import type { OpenedCredential, StepTarget } from '../../steps/step-type.ts';
import { relayTo } from '../../testing/relay.ts';
import { ed25519KeyPair } from '../../testing/ssh-keys.ts';
import { connectSsh } from '../connect.ts';

const hostKey = ed25519KeyPair();
const credential: OpenedCredential = {
  ...{ kind: 'ssh_password', id: '1', version: 1, user: 'ops', password: 'x' },
};

async function portOf(server: ssh2.Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  return (server.address() as AddressInfo).port;
}

/** A message without data: its length, one block, its tag. */
const packetBytes = 4 + 16 + 16;

/** Relays one connection to a port. Once it cuts, it passes on the length and half the block of what comes back. */
async function cuttingRelay(port: number) {
  let cuts = false;
  let isCut = false;
  let rest = Buffer.alloc(0);
  let onCut = () => {};
  let client: Socket | undefined;
  const hasCut = new Promise<void>((resolve) => {
    onCut = resolve;
  });
  const relayPort = await relayTo(port, (bytes, near) => {
    client = near;
    if (!cuts) return void near.write(bytes);
    rest = Buffer.concat([rest, bytes]);
    if (isCut || rest.length < packetBytes) return;
    isCut = true;
    near.write(rest.subarray(0, 12));
    rest = rest.subarray(12);
    onCut();
  });
  return {
    port: relayPort,
    cut: () => {
      cuts = true;
    },
    hasCut,
    passOnRest: () => client?.write(rest),
  };
}

test('a connection that is in the middle of a packet when another one logs in goes on', async () => {
  let onAuthentication: (() => void) | undefined;
  const server = new ssh2.Server({ hostKeys: [hostKey.private] }, (connection) => {
    onTestFinished(() => void connection.end());
    connection.on('error', () => {});
    connection.on('authentication', (context) => {
      onAuthentication?.();
      context.accept();
    });
  });
  const port = await portOf(server);
  const relay = await cuttingRelay(port);
  const target: StepTarget = {
    ...{ id: 1, name: 'web-1', host: '127.0.0.1', port, hostKeys: [hostKey.public.trim()] },
  };
  const login = (to: number) => connectSsh({ ...target, port: to }, credential, { checkAddresses: () => {} });

  onAuthentication = relay.cut;
  const first = login(relay.port);
  await relay.hasCut;
  onAuthentication = undefined;
  const second = await login(port);
  onTestFinished(() => second.close());
  expect(second.cipher).toMatch(/gcm/);
  relay.passOnRest();
  const connection = await first;
  onTestFinished(() => connection.close());
  expect(connection.open).toBe(true);
});
