// A command whose agent is gone is taken over by another agent of the segment, or by the same one without its disk.
import { createHash, randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { dataDirectory } from '../agent/src/identity/data-directory.ts';
import { ensureSudo } from './support/packages.ts';
import type { TestAgent } from './support/server-and-agents.ts';
import { accountsMissing } from './support/sshd.ts';
import { setup, type TestSystem } from './support/system.ts';

const sudoTest = test.skipIf('missing' in (await ensureSudo()) || accountsMissing() !== undefined);
const pieces = 8;
const pieceBytes = 400_000;

/** A run whose command prints the same text repeatedly, and waits in the middle until that part is stored. */
async function begun(t: TestSystem, name: string, config: Record<string, unknown> = {}) {
  const gate = await t.gate();
  const data = join(t.sshd.dir, 'home', `data-${name}`);
  const ran = join(t.sshd.dir, 'home', `ran-${name}`);
  const bytes = randomBytes(pieceBytes);
  writeFileSync(data, bytes, { mode: 0o644 });
  const hash = createHash('sha256');
  for (let n = 0; n < pieces; n += 1) hash.update(bytes);
  const loop = `i=0; while [ $i -lt ${pieces} ]; do cat ${data}; i=$((i + 1)); [ $i != ${pieces / 2} ] || { ${gate.wait}; }; done`;
  const command = `echo ran >>${ran}; ${loop}; exit 3`;
  const { id, stepIds, reader } = await t.run([command], {
    config: { ...config, survive_agent_restart: true },
  });
  const [step = 0] = stepIds;
  await t.until(async () => {
    const [row] = await t.sql<{ bytes: number }[]>`
      select output_bytes as bytes from job_run_steps where id = ${step}`;
    expect(row?.bytes).toBeGreaterThan(pieceBytes);
  });
  const attempt = await t.attempt(id, step);
  const holder = async () => (await t.steps(id))[0]?.agentName;
  const isWhole = async () => {
    expect(await reader.end()).toBe('failed');
    expect(await t.stored(id, step)).toEqual({ bytes: pieces * pieceBytes, sha256: hash.digest('hex') });
    expect(await t.steps(id)).toMatchObject([
      { status: 'failed', reason: 'exit_code', exitCode: 3, attempt, outputState: 'complete' },
    ]);
    expect(readFileSync(ran, 'utf8')).toBe('ran\n');
  };
  return { id, attempt, gate, holder, isWhole, ran };
}

/** What attempts have left on the target, except for those whose directories have these names. */
function filesLeft(t: TestSystem, home = 'home', except: readonly string[] = []): string[] {
  const attempts = join(t.sshd.dir, home, '.opsconductor/attempts');
  const names = readdirSync(attempts).filter((name) => !except.includes(name));
  return names.flatMap((name) => readdirSync(join(attempts, name)));
}

test('a command whose agent is gone is finished by another agent, and an agent that comes back leaves it to that one', async () => {
  await using t = await setup({ account: true });
  const agents = new Map<string | null | undefined, TestAgent>([['agent-a', t.agent]]);
  agents.set('agent-b', await t.addAgent('agent-b'));

  // It is stopped, the other one takes over its command, and then it continues reading where it was.
  const first = await begun(t, 'first');
  const stopped = await first.holder();
  agents.get(stopped)?.signal('SIGSTOP');
  await t.sql`update segments set unknown_after_s = 8`;
  await t.until(async () => expect(await first.holder()).not.toBe(stopped));
  agents.get(stopped)?.signal('SIGCONT');
  await t.until(async () => expect(await t.agentState(stopped ?? '')).toBe('connected'));
  await first.gate.open();
  await first.isWhole();

  // It is killed and doesn't come back.
  const second = await begun(t, 'second');
  const killed = await second.holder();
  const left = [...agents.values()].find(({ name }) => name !== killed);
  await agents.get(killed)?.kill9();
  await t.until(async () => expect(await second.holder()).toBe(left?.name));
  await second.gate.open();
  await second.isWhole();

  // The only one left loses its journal.
  const third = await begun(t, 'third');
  await left?.kill9();
  const data = dataDirectory(left?.dataDir ?? '');
  rmSync(data.journal);
  for (const name of readdirSync(data.spool)) rmSync(join(data.spool, name));
  await left?.start();
  await third.gate.open();
  await third.isWhole();

  await t.until(async () => expect(filesLeft(t)).toEqual([]));
}, 300_000);

test('a target that says another agent collects a command, though none does, ends that command as unknown and disturbs no other step', async () => {
  await using t = await setup({ account: true });
  const session = async () => {
    const [row] = await t.sql<{ number: number }[]>`
      select session_number as number from agents where name = ${t.agent.name}`;
    return row?.number ?? 0;
  };
  const lied = await begun(t, 'lied');
  const first = await session();
  await t.agent.kill9();
  const attempts = join(t.sshd.dir, 'home/.opsconductor/attempts');
  const ofLied = readdirSync(attempts);
  for (const name of ofLied) writeFileSync(join(attempts, name, 'collector.99'), '');
  await t.agent.start();
  await t.until(async () => expect(await session()).toBeGreaterThan(first));
  const second = await session();
  const other = await begun(t, 'other');
  await t.until(async () =>
    expect(await t.steps(lied.id)).toMatchObject([
      { status: 'unknown', reason: 'supervisor_lost', attempt: lied.attempt },
    ]),
  );
  await other.gate.open();
  await other.isWhole();
  // A server that misses the command at its agent would have ended the connection.
  expect(await session()).toBe(second);
  await lied.gate.open();
  await t.until(async () => expect(filesLeft(t, 'home', ofLied)).toEqual([]));
}, 120_000);

sudoTest(
  'a command of another user goes on when its agent is restarted, and when another agent takes it up',
  async () => {
    await using t = await setup({ account: true, sudoers: ['opsdeploy ALL=(ALL) NOPASSWD: ALL'] });
    const agents = [t.agent, await t.addAgent('agent-b')];
    const command = await begun(t, 'root', { become: { method: 'sudo', user: 'root' } });
    const name = await command.holder();
    const holder = agents.find((agent) => agent.name === name);
    await holder?.kill9();
    await holder?.start();
    await t.until(async () => expect(await t.agentState(name ?? '')).toBe('connected'));
    expect(await command.holder()).toBe(name);
    await holder?.kill9();
    await t.sql`update segments set unknown_after_s = 8`;
    await t.until(async () => expect(await command.holder()).not.toBe(name));
    await command.gate.open();
    await command.isWhole();
    expect(statSync(command.ran).uid).toBe(0);
    await t.until(async () => expect(filesLeft(t, 'root')).toEqual([]));
  },
  120_000,
);
