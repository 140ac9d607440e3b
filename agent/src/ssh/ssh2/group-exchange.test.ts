import { getDiffieHellman } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import type { OpenedCredential, StepTarget } from '../../steps/step-type.ts';
import { connectSsh } from '../connect.ts';
import { scanHost } from '../host-keys/scan-host.ts';
import { WireReader, wireString } from '../host-keys/wire-reader.ts';
import { refusalOf, setupSshd, sshTest } from '../sshd-setup.ts';
import { limitGroup } from './group-exchange.ts';
import type { KeyExchange } from './key-exchanges.ts';

const credential: OpenedCredential = {
  ...{ kind: 'ssh_password', id: '1', version: 1, user: 'ops', password: 'x' },
};
const groupRequest = 34;
const groupInit = 32;

function plainPacket(payload: Buffer): Buffer {
  const paddingBytes = 8 - ((5 + payload.length) % 8) + 8;
  const head = Buffer.alloc(5, paddingBytes);
  head.writeUInt32BE(1 + payload.length + paddingBytes, 0);
  return Buffer.concat([head, payload, Buffer.alloc(paddingBytes)]);
}

/** Starts a server that wants a group exchange and chooses this group. Resolves with what the client sends. */
async function chooses(prime: Buffer, generator = Buffer.from([2])) {
  const sockets = new Set<Socket>();
  const heard: Buffer[] = [];
  const server = createServer((socket) => {
    sockets.add(socket.on('error', () => {}));
    const lists = ['diffie-hellman-group-exchange-sha256', 'ssh-ed25519'];
    for (const each of ['aes128-gcm@openssh.com', 'hmac-sha2-256', 'none']) lists.push(each, each);
    lists.push('', '');
    const init = [
      Buffer.from([20]),
      Buffer.alloc(16),
      ...lists.map((list) => wireString(list)),
      Buffer.alloc(5),
    ];
    socket.write(Buffer.concat([Buffer.from('SSH-2.0-Hostile\r\n'), plainPacket(Buffer.concat(init))]));
    let unread = Buffer.alloc(0);
    let greeted = false;
    socket.on('data', (bytes) => {
      unread = Buffer.concat([unread, bytes]);
      if (!greeted) {
        const end = unread.indexOf('\n');
        if (end < 0) return;
        greeted = true;
        unread = unread.subarray(end + 1);
      }
      while (unread.length > 5 && unread.length >= 4 + unread.readUInt32BE(0)) {
        const bytesInAll = 4 + unread.readUInt32BE(0);
        const payload = unread.subarray(5, bytesInAll - (unread[4] ?? 0));
        unread = unread.subarray(bytesInAll);
        heard.push(payload);
        if (payload[0] !== groupRequest) continue;
        const chosen = [Buffer.from([31]), wireString(Buffer.concat([Buffer.alloc(1), prime]))];
        socket.write(plainPacket(Buffer.concat([...chosen, wireString(generator)])));
      }
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const hangUp = () => {
    for (const socket of sockets) socket.destroy();
  };
  onTestFinished(() => {
    hangUp();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const target: StepTarget = { id: 1, name: 'hostile', host: '127.0.0.1', port, hostKeys: [] };
  return { target, heard, hangUp };
}

sshTest.each(['current', 'legacy'] as const)(
  'a server that knows only group exchange lets the agent in, with the algorithms %s',
  async (algorithms) => {
    const t = await setupSshd({ config: ['KexAlgorithms diffie-hellman-group-exchange-sha256'] });
    await t.connect({}, { algorithms });
    const { host, port } = t.target;
    const scanned = await scanHost(
      { id: 1, host, port },
      { kind: 'keys', signal: AbortSignal.timeout(10_000) },
    );
    expect(scanned.keys).toHaveLength(1);
  },
);

test.each([
  ['of 8192 bits', 'modp18', 8192],
  ['of 1024 bits', 'modp2', 1024],
])(
  'a group %s, which the server chose, is refused before anything is computed in it',
  async (_, name, bits) => {
    const t = await chooses(getDiffieHellman(name).getPrime());
    const refused = await refusalOf(connectSsh(t.target, credential, { checkAddresses: () => {} }));
    expect(refused).toMatchObject({
      reason: 'unreachable',
      message: expect.stringContaining(
        `The server chose a group of ${bits} bits; from 2048 to 4096 are allowed`,
      ),
    });
    expect(t.heard.map(([type]) => type)).not.toContain(groupInit);
    const { id, host, port } = t.target;
    const scan = scanHost({ id, host, port }, { kind: 'keys', signal: AbortSignal.timeout(10_000) });
    expect((await refusalOf(scan)).message).toContain(`a group of ${bits} bits`);
  },
);

test('the agent asks for no larger group than it takes', async () => {
  const t = await chooses(getDiffieHellman('modp18').getPrime());
  await refusalOf(connectSsh(t.target, credential, { checkAddresses: () => {} }));
  const request = t.heard.find(([type]) => type === groupRequest) as Buffer;
  const asked = new WireReader(request.subarray(1));
  expect([asked.uint32(), asked.uint32(), asked.uint32()]).toEqual([2048, 3072, 4096]);
});

test('an old device may choose a group of 1024 bits, if the target allows old algorithms', async () => {
  const t = await chooses(getDiffieHellman('modp2').getPrime());
  const target: StepTarget = { ...t.target, algorithms: 'legacy' };
  const refused = refusalOf(connectSsh(target, credential, { checkAddresses: () => {} }));
  await expect.poll(() => t.heard.map(([type]) => type)).toContain(groupInit);
  t.hangUp();
  await refused;
});

/** What ssh2 does with a group exchange. */
interface Exchange extends KeyExchange {
  setDHParams(prime: Buffer, generator: Buffer): void;
  generateKeys(): void;
  _public: Buffer;
  _dh: { computeSecret(other: Buffer): Buffer };
}

function exchangeIn(prime: Buffer): Exchange {
  const exchange = { negotiated: { kex: 'diffie-hellman-group-exchange-sha256' }, _dh: null };
  limitGroup(exchange as unknown as KeyExchange);
  const limited = exchange as unknown as Exchange;
  limited.setDHParams(prime, Buffer.from([0, 2]));
  limited.generateKeys();
  return limited;
}

test('both sides compute the same secret, and values that would make it known are refused', () => {
  const server = getDiffieHellman('modp14');
  const prime = server.getPrime();
  const client = exchangeIn(prime);
  const theirs = server.generateKeys();
  const secret = server.computeSecret(client._public);
  expect(client._dh.computeSecret(theirs)).toEqual(secret);
  expect(client._dh.computeSecret(Buffer.concat([Buffer.alloc(1), theirs]))).toEqual(secret);
  const oneLess = Buffer.from(prime);
  oneLess[oneLess.length - 1] = (oneLess.at(-1) ?? 0) - 1;
  for (const known of [Buffer.alloc(0), Buffer.from([0]), Buffer.from([1]), oneLess, prime])
    expect(() => client._dh.computeSecret(known)).toThrow();
});
