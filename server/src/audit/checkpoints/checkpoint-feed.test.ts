import { provesConsistency, readCheckpoint, type SignedCheckpoint } from '@opsconductor/protocol/audit';
import { afterAll, afterEach, beforeAll, expect, it, onTestFinished, vi } from 'vitest';
import { setupAudit, type TestAudit } from '../testing.ts';
import { CheckpointFeed } from './checkpoint-feed.ts';

let t: TestAudit;
beforeAll(async () => {
  t = await setupAudit();
});
afterEach(() => t.empty());
afterAll(() => t.close());

const agent = { agentId: 4, name: 'agent-4', segmentId: 1 };
const feed = () => new CheckpointFeed(t.deps);
const treeOf = ({ size, rootHash }: SignedCheckpoint) => ({ size, root: rootHash });

async function seal(...names: string[]): Promise<SignedCheckpoint> {
  await t.write(...names);
  const [made] = await t.sealer.seal();
  if (made === undefined) throw new Error('nothing was sealed');
  return made;
}

it('offers nothing before the first checkpoint, and nothing to an agent that holds the newest', async () => {
  expect(await feed().offer(agent, 0)).toBeUndefined();
  const { size } = await seal('a');
  expect(await feed().offer(agent, size, size)).toBe('has newest');
});

it('sends an agent that holds the same size the newest once per connection: a truncated log may have grown to that size again', async () => {
  const made = await seal('a');
  for (const given of [undefined, made.size - 1]) {
    expect(await feed().offer(agent, made.size, given)).toEqual({
      size: made.size,
      message: { type: 'audit_checkpoint', from: made.size, note: made.note, proof: [] },
    });
  }
});

it('offers the newest, with the proof that it continues the held one', async () => {
  const held = await seal('a', 'b', 'c');
  await seal('d');
  const newest = await seal('e', 'f', 'g');
  const offers = feed();
  const [first, next, same] = await Promise.all([
    offers.offer(agent, 0),
    offers.offer(agent, 3),
    offers.offer(agent, 3),
  ]);
  expect(first).toMatchObject({ size: newest.size, message: { from: 0, note: newest.note, proof: [] } });
  expect(same).toEqual(next);
  if (typeof next !== 'object') throw new Error('nothing was offered');
  const proof = next.message.proof.map((hash) => Buffer.from(hash, 'base64'));
  expect(provesConsistency(treeOf(held), treeOf(readCheckpoint(next.message.note)), proof)).toBe(true);
});

it('offers a checkpoint again after its proof could not be read, although no newer one was made', async () => {
  const held = await seal('a', 'b', 'c');
  const newest = await seal('d');
  const offers = feed();
  await t.sql`alter table audit_leaves rename to audit_leaves_away`;
  const failed = await offers.offer(agent, held.size);
  await t.sql`alter table audit_leaves_away rename to audit_leaves`;
  expect(failed).toBeUndefined();
  expect(await offers.offer(agent, held.size)).toMatchObject({ size: newest.size });
});

it('looks again before it concludes that an agent is ahead', async () => {
  const offers = feed();
  await seal('a');
  await offers.offer(agent, 0);
  const newer = await seal('b');
  expect(await offers.offer(agent, newer.size, newer.size)).toBe('has newest');
});

it('sends an agent that is ahead the lower one, so that it refuses it', async () => {
  const lower = await seal('a');
  expect(await feed().offer(agent, 9, 9)).toEqual({
    size: lower.size,
    message: { type: 'audit_checkpoint', from: 9, note: lower.note, proof: [] },
  });
});

it('logs and audits a refusal once, and whether the checkpoint was ours', async () => {
  const offers = feed();
  const lower = await seal('a');
  const held = (await seal('b')).note;
  for (let times = 0; times < 3; times++)
    await offers.refused(agent, {
      type: 'audit_checkpoint_refused',
      reason: 'lower',
      held,
      offered: 'nonsense',
    });
  const rows = await t.sql`
    select actor_kind, actor_name, detail from audit_log where action = 'audit.checkpoint_refused'`;
  expect(rows).toMatchObject([
    {
      actorKind: 'agent',
      actorName: 'agent-4',
      detail: { reason: 'lower', held: { number: 2, isSigned: true }, offered: { isSigned: false } },
    },
  ]);
  expect(lower.number).toBe(1);
  expect(t.logged.filter((line) => line.includes('an agent refused'))).toHaveLength(1);
});

it('reports once that an agent holds a checkpoint while there is none, but not for a new agent', async () => {
  const offers = feed();
  expect(await offers.offer(agent, 0)).toBeUndefined();
  expect(await t.sql`select from audit_log`).toHaveLength(0);
  for (let times = 0; times < 3; times++) expect(await offers.offer(agent, 9)).toBeUndefined();
  const rows = await t.sql`select actor_kind, actor_name, action, detail from audit_log`;
  expect(rows).toEqual([
    {
      actorKind: 'agent',
      actorName: 'agent-4',
      action: 'audit.checkpoint_refused',
      detail: { reason: 'lower', held: { size: 9 }, offered: { size: 0 } },
    },
  ]);
  expect(t.logged.join()).toContain('there is none here: the log was emptied or rolled back');
  // That row is sealed and offered, so that the agent refuses it with a signed note.
  const [made] = await t.sealer.seal();
  expect(await new CheckpointFeed(t.deps).offer(agent, 9)).toMatchObject({ message: { note: made?.note } });
});

it('retries after 30 s to record that there is no checkpoint for an agent that holds one, if the log took no row', async () => {
  onTestFinished(async () => {
    vi.useRealTimers();
    await t.sql`alter table audit_log drop constraint if exists no_rows`;
  });
  vi.useFakeTimers({ toFake: ['performance'] });
  const offers = feed();
  const failures = () => t.logged.filter((line) => line.includes('could not be offered')).length;
  await t.sql`alter table audit_log add constraint no_rows check (false) not valid`;
  for (let times = 0; times < 20; times++) expect(await offers.offer(agent, 9)).toBeUndefined();
  expect(failures()).toBe(1);
  vi.advanceTimersByTime(30_000);
  for (let times = 0; times < 20; times++) await offers.offer(agent, 9);
  expect(failures()).toBe(2);
  await t.sql`alter table audit_log drop constraint no_rows`;
  await offers.offer(agent, 9);
  expect(await t.sql`select from audit_log`).toHaveLength(0);
  vi.advanceTimersByTime(30_000);
  for (let times = 0; times < 20; times++) await offers.offer(agent, 9);
  expect(await t.sql`select action from audit_log`).toEqual([{ action: 'audit.checkpoint_refused' }]);
  expect(t.logged.filter((line) => line.includes('there is none here'))).toHaveLength(1);
});
