// Processes left on a target after a cut are ended by the next agent that reaches it.
import { execFileSync } from 'node:child_process';
import type { Attempt } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { setup } from './support/system.ts';

function alive(pid: number): boolean {
  try {
    return (
      execFileSync('ps', ['-o', 'stat=', '-p', String(pid)])
        .toString()
        .trim()
        .startsWith('Z') === false
    );
  } catch {
    return false;
  }
}

test('a command whose agent is permanently gone is ended by another agent after its deadline, and the attempt says so', async () => {
  await using t = await setup();
  const { id, stepIds, reader } = await t.run([`trap '' HUP; echo pid $$; while :; do sleep 1000; done`]);
  const [step = 0] = stepIds;
  await reader.until(() => /pid \d+\n/.test(reader.text(step)), 'the command');
  const pid = Number(/pid (\d+)/.exec(reader.text(step))?.[1]);
  await t.addAgent('agent-b');
  await t.agent.kill9();
  await t.sql`update segments set unknown_after_s = 2`;
  expect(await reader.end()).toBe('unknown');
  expect(alive(pid)).toBe(true);
  await t.sql`update attempt_clean_ups set due_at = clock_timestamp()`;
  const since = Date.now();
  await t.until(async () => {
    const { body } = await t.api.get<{ items: Attempt[] }>(`/api/v1/runs/${id}/steps/${step}/attempts`);
    expect(body.items).toMatchObject([
      { status: 'unknown', cleanUp: { state: 'done', found: 'ended', survivors: [] } },
    ]);
  });
  expect(Date.now() - since).toBeLessThan(30_000);
  expect(alive(pid)).toBe(false);
});
