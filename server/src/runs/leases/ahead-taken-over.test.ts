// A command that goes on without its agent, followed by steps that were leased ahead of their turn.
import { expect, test } from 'vitest';
import { createLog } from '../../log.ts';
import { takeOverOrphans } from '../../store/queue/detached-attempts.ts';
import { Sweeper } from '../ends/sweeper.ts';
import { endOf, setupRuns, success, testServerId } from '../testing.ts';
import { markLeased } from './mark-leased.ts';

const capabilities = ['take_over'];

test('an agent that took over a command is leased nothing that follows what another agent was leased', async () => {
  await using t = await setupRuns();
  const holder = await t.connect(t.agent, { capabilities });
  await t.start({ steps: 6 });
  const [{ next, ahead: [third] = [] } = {}] = (
    await t.settle(endOf(await t.claimOne(), success, { wantsNext: true, ahead: 2 }))
  ).results;
  if (next === undefined || third === undefined) throw new Error('nothing was leased');
  const { id: step, epoch, agentId, sessionNumber } = next;
  await markLeased(t.sql, [next], [{ step, epoch, agentId, sessionNumber, survives: true }]);
  const other = await t.connect(await t.addAgent('agent-b'), { capabilities });
  const log = createLog({ level: 'silent', plain: false });
  const sweeper = new Sweeper({ sql: t.sql, serverId: testServerId, log, publish: () => undefined });
  await t.sql`update cluster_clock set touched_at = clock_timestamp()`;
  await t.sql`
    update agent_sessions set last_heartbeat_at = clock_timestamp() - interval '10 minutes',
      expires_at = clock_timestamp() - interval '9 minutes' where agent_id = ${holder.agentId}`;
  await sweeper.sweep();
  expect(await takeOverOrphans(t.sql, testServerId, 10)).toMatchObject([{ id: next.id }]);
  await sweeper.sweep();
  const { results } = await t.settle(endOf({ ...next, ...other }, success, { wantsNext: true, ahead: 4 }));
  // Nothing can follow, on this agent, what another one has.
  expect(results[0]?.ahead).toBeUndefined();
});
