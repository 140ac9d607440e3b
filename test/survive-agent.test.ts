// A command that continues while its agent is gone.
import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { setup, type TestSystem } from './support/system.ts';

const pieces = 20;

/** A command that prints 20 MB and waits in the middle, and its output's digest. */
function noisyCommand(t: TestSystem, wait: string): { command: string; ran: string; sha256: string } {
  const data = join(t.sshd.dir, 'home/data');
  const bytes = randomBytes(1_000_000);
  writeFileSync(data, bytes, { mode: 0o644 });
  const hash = createHash('sha256');
  for (let n = 0; n < pieces; n += 1) hash.update(bytes);
  const loop = `i=0; while [ $i -lt ${pieces} ]; do cat ${data}; i=$((i + 1)); [ $i != 10 ] || { ${wait}; }; done`;
  const ran = join(t.sshd.dir, 'home/ran');
  return { command: `echo ran >>${ran}; ${loop}; exit 3`, ran, sha256: hash.digest('hex') };
}

/** Files and processes of attempts on the target. */
function leftOvers(t: TestSystem): { files: string[]; processes: number } {
  const attempts = join(t.sshd.dir, 'home/.opsconductor/attempts');
  const files = readdirSync(attempts).flatMap((name) => readdirSync(join(attempts, name)));
  const grep = `grep -laE 'OPSCONDUCTOR_(ATTEMPT|SUPERVISOR)=' /proc/[0-9]*/environ 2>/dev/null | while read f; do tr '\\0' '\\n' <$f | grep -q "^HOME=${t.sshd.dir}" && echo $f; done | wc -l`;
  return { files, processes: Number(execFileSync('sh', ['-c', grep]).toString()) };
}

test('an agent killed in mid step resumes its command: complete output, real exit code', async () => {
  await using t = await setup({ account: true });
  const gate = await t.gate();
  const { command, ran, sha256 } = noisyCommand(t, gate.wait);
  const { id, stepIds, reader } = await t.run([command], { config: { survive_agent_restart: true } });
  const [step = 0] = stepIds;
  await t.until(async () => {
    const [row] = await t.sql<
      { bytes: number }[]
    >`select output_bytes as bytes from job_run_steps where id = ${step}`;
    expect(row?.bytes).toBeGreaterThan(1_000_000);
  });
  const attempt = await t.attempt(id, step);
  await t.agent.kill9();
  await t.agent.start();
  await gate.open();
  expect(await reader.end()).toBe('failed');
  expect(await t.stored(id, step)).toEqual({ bytes: pieces * 1_000_000, sha256 });
  expect(await t.steps(id)).toMatchObject([
    { status: 'failed', reason: 'exit_code', exitCode: 3, attempt, outputState: 'complete' },
  ]);
  expect(readFileSync(ran, 'utf8')).toBe('ran\n');
  await t.until(async () => expect(leftOvers(t)).toEqual({ files: [], processes: 0 }));
});
