// A command that prints to one stream and then to the other right at its start: the output keeps that order.
import { expect, onTestFinished } from 'vitest';
import {
  type ServerFixture,
  type SshSetup,
  setupServer,
  setupSshd,
  sshTest,
} from '../agent/src/ssh/sshd-setup.ts';
import { setupExecOn } from '../agent/src/steps/ssh-exec/ssh-exec-setup.ts';
import { generateDemoKeys } from '../server/src/quickstart/demo-keys.ts';
import { startDemoSshServer } from '../server/src/quickstart/ssh-server.ts';

const runs = 60;

async function startDemo(): Promise<SshSetup<ServerFixture>> {
  const keys = await generateDemoKeys();
  const server = await startDemoSshServer({
    hostKey: keys.host.privateKey,
    authorizedKey: keys.client.publicKey,
  });
  onTestFinished(() => server.close());
  return setupServer({
    ...server,
    privateKey: keys.client.privateKey,
    log: () => '',
    stop: async () => undefined,
  });
}

const servers: [string, () => Promise<SshSetup<ServerFixture>>][] = [
  ['OpenSSH', setupSshd],
  ['the demo’s server', startDemo],
];

sshTest.for(servers)(
  'of what a command prints first, stdout and then stderr, %s hands on in that order',
  async ([, start]) => {
    const t = setupExecOn(await start());
    for (let run = 0; run < runs; run += 1) await t.run({ command: 'echo one; echo two >&2' });
    const streams = t.sink.parts.map(({ stream }) => stream);
    expect(streams).toEqual(Array.from({ length: runs }, () => ['stdout', 'stderr']).flat());
  },
);
