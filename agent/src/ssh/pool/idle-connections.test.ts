// The agent's option for idle SSH connections, tested down to the SSH server.
import { expect } from 'vitest';
import { PatternSet } from '../../masking/pattern-set.ts';
import { lease, setup } from '../../testing/agent-setup.ts';
import { setupSshd, sshTest } from '../sshd-setup.ts';

sshTest(
  'a connection that no step uses is closed after the time that the agent was started with',
  async () => {
    const { sshd, target, credential } = await setupSshd();
    await using t = await setup();
    const openCredential = async () => ({
      ...{ target, credential, secrets: new PatternSet([]), checkAddresses: () => undefined },
    });
    await t.start({ hasOwnSteps: true, sshIdleMs: 50, openCredential });
    const { connection } = await t.server.nextSession();
    const run = async (step: number) => {
      const command = lease(step, { stepType: 'ssh.exec', config: { command: 'true' } });
      connection.send({ type: 'leases', leases: [command] });
      const { outcome } = await connection.next('complete');
      expect(outcome).toMatchObject({ status: 'succeeded' });
      return outcome.ssh?.sessionId;
    };
    const first = await run(1);
    await expect.poll(() => sshd.sessionPids(), { timeout: 20_000 }).toEqual([]);
    expect(await run(2)).not.toBe(first);
  },
);
