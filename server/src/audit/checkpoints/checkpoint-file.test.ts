import { appendFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it, onTestFinished } from 'vitest';
import { latestCheckpoint } from '../../store/audit/audit-seals.ts';
import { setupAudit, type TestAudit } from '../testing.ts';
import { CheckpointFile } from './checkpoint-file.ts';
import { readNotes } from './checkpoint-notes.ts';

let t: TestAudit;
let folder: string;
let path: string;
beforeAll(async () => {
  t = await setupAudit();
});
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'opsconductor-checkpoints-'));
  path = join(folder, 'checkpoints');
});
afterEach(async () => {
  await t.empty();
  await rm(folder, { recursive: true });
});
afterAll(() => t.close());

async function seal(name: string): Promise<string> {
  await t.write(name);
  await t.sealer.seal();
  return (await latestCheckpoint(t.sql))?.note ?? '';
}

const append = () => new CheckpointFile(path, t.deps).append();

it('gets every checkpoint once, in order, across restarts', async () => {
  const file = new CheckpointFile(path, t.deps);
  const notes = [await seal('a'), await seal('b')];
  await file.append();
  notes.push(await seal('c'));
  await file.append();
  await file.append();
  notes.push(await seal('d'));
  await append();
  expect(await readNotes(path)).toEqual(notes);
});

it('is read up to a limit, as a device has no end', async () => {
  await seal('a');
  await append();
  await expect(readNotes(path, 100)).rejects.toThrow(`${path} has more than 0.0001 MB. Give a part of it`);
  await expect(readNotes('/dev/zero', 1_000_000)).rejects.toThrow('/dev/zero has more than 1 MB.');
});

it('continues after a note that a crash left half written', async () => {
  const first = await seal('a');
  await append();
  await appendFile(path, first.slice(0, 60));
  const second = await seal('b');
  await append();
  expect((await readNotes(path)).at(-1)).toBe(second);
  expect(t.logged.join()).not.toContain('does not continue');
});

it.each([
  ['cut off', async () => {}, 'lower'],
  ['cut off and gone on', async () => void (await seal('other')), 'forked'],
])('shows that the log was %s while no server ran', async (_, goOn, reason) => {
  await seal('a');
  await seal('b');
  await append();
  await t.attack(
    'delete from audit_log where id > 1',
    'delete from audit_leaves where position > 0',
    'delete from audit_checkpoints where number > 1',
  );
  await goOn();
  await append();
  const [row] = await t.sql`select detail from audit_log where action = 'audit.checkpoint_refused'`;
  expect(row?.detail).toMatchObject({ reason, kept: { number: 2 } });
  expect(t.logged.join()).toContain('was cut off or rolled back');
});

it('is checked again by the running server if the log was emptied, and gets the checkpoints of what is written then', async () => {
  const file = new CheckpointFile(path, t.deps);
  await seal('a');
  await seal('b');
  await file.append();
  await t.attack('truncate audit_unsealed, audit_log, audit_leaves, audit_nodes, audit_checkpoints');
  file.compareAgain();
  await file.append();
  const [row] = await t.sql`select detail from audit_log where action = 'audit.checkpoint_refused'`;
  expect(row?.detail).toMatchObject({ reason: 'lower', kept: { number: 2 }, found: { number: 0 } });
  const next = await seal('c');
  await file.append();
  expect((await readNotes(path)).at(-1)).toBe(next);
});

it('reports once that the log does not continue it, even if that can not be recorded at first', async () => {
  onTestFinished(async () => {
    await t.sql`alter table audit_log drop constraint if exists no_rows`;
  });
  await seal('a');
  await seal('b');
  await append();
  await t.attack(
    'delete from audit_log where id > 1',
    'delete from audit_leaves where position > 0',
    'delete from audit_checkpoints where number > 1',
  );
  await t.sql`alter table audit_log add constraint no_rows check (false) not valid`;
  const file = new CheckpointFile(path, t.deps);
  for (let round = 0; round < 3; round++) await expect(file.append()).rejects.toThrow('no_rows');
  await t.sql`alter table audit_log drop constraint no_rows`;
  await file.append();
  expect(await t.sql`select action from audit_log where action like 'audit.%'`).toEqual([
    { action: 'audit.checkpoint_refused' },
  ]);
  expect(t.logged.filter((line) => line.includes('was cut off or rolled back'))).toHaveLength(1);
});
