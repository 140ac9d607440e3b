// Tests of the whole-system test fixtures themselves.
import { expect, test } from 'vitest';
import { setup } from './system.ts';

const isAlive = (pid: number) => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

test('stopping a server with its own database does not stop an agent, and stopping an agent does not stop a copy of it', async () => {
  await using t = await setup({ ownPostgres: true });
  const copy = await t.copyAgent(t.agent);
  const [server, agent, postmaster] = [t.server.pid, t.agent.pid, await t.postmasterPid()];
  expect(await t.server.stop()).toEqual([]);
  expect([server, postmaster, agent].map(isAlive)).toEqual([false, false, true]);
  await copy.start({ connected: false });
  expect(await t.agent.stop()).toEqual([]);
  expect([t.agent.pid, copy.pid].map(isAlive)).toEqual([false, true]);
});
