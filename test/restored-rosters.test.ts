// Restores a backup the way an operator does. In the lost period, agents were enrolled and revoked: their peers have
// seen rosters that the database doesn't know.
import { execFile } from 'node:child_process';
import { readFile, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import type { Agent, Segment } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { Owner } from './support/owner.ts';
import type { TestAgent } from './support/server-and-agents.ts';
import { setup, type TestSystem } from './support/system.ts';

const run = promisify(execFile);
const root = resolve(import.meta.dirname, '..');

/** Folder of the embedded database. */
async function homeOf(t: TestSystem): Promise<string> {
  const dataDir = join(t.serverDataDir, 'postgres');
  const placed = await readFile(join(dataDir, 'placement.json'), 'utf8').catch(() => undefined);
  return placed === undefined ? dataDir : (JSON.parse(placed) as { home: string }).home;
}

const agents = async (t: TestSystem) => (await t.api.get<{ items: Agent[] }>('/api/v1/agents')).body.items;
const named = async (t: TestSystem, name: string) => {
  const agent = (await agents(t)).find((one) => one.name === name);
  if (agent === undefined) throw new Error(`no agent ${name}`);
  return agent;
};
const segment = async (t: TestSystem, id: number) =>
  (await t.api.get<Segment>(`/api/v1/segments/${id}`)).body;
const rosterNumber = async (agent: TestAgent) => {
  const { payload } = JSON.parse(await readFile(join(agent.dataDir, 'roster.json'), 'utf8')) as {
    payload: string;
  };
  return (JSON.parse(payload) as { number: number }).number;
};
const hasKey = (t: TestSystem, name: string) =>
  t.until(async () =>
    expect(await named(t, name)).toMatchObject({ state: 'connected', hasSegmentKey: true }),
  );

async function stopAll(t: TestSystem, others: readonly TestAgent[]): Promise<void> {
  for (const agent of [t.agent, ...others]) await agent.stop();
  await t.server.stop();
}

async function startAll(t: TestSystem, others: readonly TestAgent[]): Promise<void> {
  await t.server.start();
  for (const agent of [t.agent, ...others]) await agent.start();
}

/** Restores the copy and runs the command for that; returns what it printed. */
async function restore(t: TestSystem, copy: string): Promise<string> {
  const home = await homeOf(t);
  await rm(home, { recursive: true });
  await run('cp', ['-a', copy, home]);
  const args = [join(root, 'scripts/restored.mjs'), '--data', t.serverDataDir];
  return (await run(process.execPath, args, { cwd: root })).stdout;
}

test('after a restore agents take the next roster of a managed root, and an owner is told to sign', async () => {
  await using t = await setup({ ownPostgres: true });
  const owner = await Owner.at(join(t.serverDataDir, 'owner'), t.api);
  await owner.segment('init', 'owned');
  const { id: owned } = (await t.api.get<{ items: Segment[] }>('/api/v1/segments')).body.items.find(
    ({ name }) => name === 'owned',
  ) as Segment;
  const kept = await t.enrollAgent('kept', owned);
  await owner.sign('owned', ...(await owner.admits(kept)));
  await kept.start();
  await hasKey(t, 'kept');

  await stopAll(t, [kept]);
  const copy = `${await homeOf(t)}-copy`;
  await run('cp', ['-a', await homeOf(t), copy]);
  try {
    await startAll(t, [kept]);
    await hasKey(t, 'kept');
    await hasKey(t, 'agent-a');

    const lost = await t.addAgent('lost');
    await t.api.made(`/api/v1/agents/${(await named(t, 'lost')).id}/revoke`);
    await t.until(async () =>
      expect(await segment(t, t.segmentId)).toMatchObject({ keyGeneration: 2, keyRotationWantedAt: null }),
    );
    await lost.stop();
    const second = await t.enrollAgent('second', owned);
    await owner.sign('owned', ...(await owner.admits(second)));
    await t.until(async () => {
      expect(await rosterNumber(t.agent)).toBe(4);
      expect(await rosterNumber(kept)).toBe(2);
    });

    await second.stop();
    await stopAll(t, [kept]);
    expect(await restore(t, copy)).toContain('revoke it again');
    await startAll(t, [kept]);
    await hasKey(t, 'agent-a');
    await t.addAgent('newcomer');
    expect(await rosterNumber(t.agent)).toBeGreaterThan(4);
    expect(t.agent.output).not.toContain('was refused: Roster');

    // Nobody else can sign this one. The segment says so until its owner has signed.
    await hasKey(t, 'kept');
    expect(await segment(t, owned)).toMatchObject({
      lostRoster: { agents: [{ name: 'kept', rosterNumber: 2 }] },
    });
    expect(await segment(t, t.segmentId)).toMatchObject({ lostRoster: null });
    await owner.sign('owned', '--remove', 'second');
    await t.until(async () => expect(await rosterNumber(kept)).toBe(3));
    expect(await segment(t, owned)).toMatchObject({ lostRoster: null, toSign: null });
    // Enrolled again, its machine is a different agent: the root has signed the previous agent's removal.
    const again = await t.enrollAgent('second-again', owned);
    await owner.sign('owned', ...(await owner.admits(again)));
    await again.start();
    await hasKey(t, 'second-again');
    expect(await rosterNumber(again)).toBe(4);
  } finally {
    await rm(copy, { recursive: true, force: true });
  }
}, 120_000);
