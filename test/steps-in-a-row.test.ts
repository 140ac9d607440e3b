// Short steps of one target run, of every type, most of which are leased to the agent ahead of their turn.
import { randomUUID } from 'node:crypto';
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { powershellBootstrap, type Step } from '@opsconductor/protocol';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { cmdRunner } from '../agent/src/winrm/powershell/powershell.ts';
import { ensureWinrmFixture } from './support/packages.ts';
import { storeCredential } from './support/sealed-credential.ts';
import { setup, type TestSystem } from './support/system.ts';
import { startWinrm, winrmPassword, winrmUser } from './support/winrm.ts';

let t: TestSystem;
beforeAll(async () => {
  t = await setup({ files: true });
});
afterAll(() => t?.[Symbol.asyncDispose]());

/** A folder on the target that its user may write. */
async function folder(): Promise<string> {
  const directory = join(t.sshd.dir, `row-${randomUUID()}`);
  await mkdir(directory);
  await chmod(directory, 0o777);
  return directory;
}

const exec = (command: string) => ({ type: 'ssh.exec', config: { command } });

/** Gives each step a name of its own. */
const named = (steps: readonly Record<string, unknown>[]) =>
  steps.map((step, at) => ({ name: `step ${at + 1}`, ...step }));

async function ended(runId: number): Promise<Step[]> {
  let steps: Step[] = [];
  await t.until(async () => {
    steps = await t.steps(runId);
    expect(steps.filter(({ completedAt }) => completedAt === null)).toEqual([]);
  });
  return steps;
}

/** Whether a step was leased before the one before it had ended. */
const wasAhead = (step: Step, at: number, steps: readonly Step[]) =>
  at > 0 && (step.leasedAt ?? '') < (steps[at - 1]?.completedAt ?? '');

/** Does it again if the machine was too slow for anything to be leased ahead. */
async function inARow(row: () => Promise<Step[]>): Promise<void> {
  for (let left = 5; left > 0; left -= 1) if ((await row()).some(wasAhead)) return;
  throw new Error('no step was leased ahead of its turn');
}

test(
  'steps of all types over SSH run one after the other in a row, each with what those before it left',
  () =>
    inARow(async () => {
      const there = await folder();
      await writeFile(join(t.filesDir, 'sent'), 'sent');
      const types = (lap: string) => [
        exec(`echo ${lap} >> ${there}/seen`),
        {
          type: 'sftp.upload',
          config: { local_path: `${t.filesDir}/sent`, remote_path: `${there}/${lap}` },
        },
        exec(`test "$(cat ${there}/${lap})" = sent && mv ${there}/${lap} ${there}/${lap}.moved`),
        { ...exec(`rm ${there}/${lap}.moved`), when: 'target.name == "another"' },
        {
          type: 'sftp.download',
          config: { remote_path: `${there}/${lap}.moved`, local_path: `${t.filesDir}/${lap}` },
        },
        {
          type: 'ssh.copy',
          config: { local_path: `${t.filesDir}/${lap}`, remote_path: `${there}/${lap}.back` },
        },
        { type: 'wait_for', config: { port: t.sshd.port } },
        { type: 'wait_for', config: { command: `test -f ${there}/${lap}.back`, timeout: 20 } },
        exec(`test ! -e ${there}/${lap} && rm ${there}/${lap}.moved`),
      ];
      const row = [exec('true'), exec('true'), ...types('one'), exec('true'), ...types('two')];
      const steps = await ended(await t.runSteps(named(row)));
      expect(steps.map(({ status }) => status)).toEqual(
        row.map((step) => ('when' in step ? 'skipped' : 'succeeded')),
      );
      expect(await readFile(`${there}/seen`, 'utf8')).toBe('one\ntwo\n');
      return steps;
    }),
  120_000,
);

test('what was leased to follow a transfer that fails does not run', async () => {
  const there = await folder();
  const runId = await t.runSteps(
    named([
      exec('true'),
      exec('true'),
      { type: 'sftp.upload', config: { local_path: `${t.filesDir}/none`, remote_path: there } },
      exec(`touch ${there}/after`),
      exec(`touch ${there}/later`),
    ]),
  );
  const steps = await ended(runId);
  expect(steps.map(({ status }) => status)).toEqual([
    ...['succeeded', 'succeeded', 'failed', 'skipped', 'skipped'],
  ]);
  expect(steps.slice(3)).toMatchObject([{ startedAt: null }, { startedAt: null }]);
});

const missing = 'missing' in (await ensureWinrmFixture());

test.skipIf(missing)(
  'steps over WinRM run in a row, and none after one that failed',
  async () => {
    const emulated = { bootstrap: powershellBootstrap, cmdRunner };
    const host = await startWinrm({ emulated });
    try {
      const ports = [host.port('http')];
      const credentialId = await storeCredential(t.api, t.segmentId, 'windows', {
        kind: 'winrm_password',
        user: winrmUser,
        password: winrmPassword,
        bounds: {
          ...{ hosts: [host.host], networks: [], ports, protocols: ['winrm'] },
          ...{ user: winrmUser, authentication: ['ntlm'] },
        },
      });
      const { id } = await t.api.made<{ id: number }>('/api/v1/targets', {
        ...{ segmentId: t.segmentId, name: 'windows', host: host.host, port: ports[0], credentialId },
        ...{ operatingSystem: 'windows', settings: { protocol: 'winrm', winrm_transport: 'http' } },
      });
      const step = (command: string) => ({
        type: 'winrm.exec',
        config: { shell: 'cmd', command },
      });
      await inARow(async () => {
        const there = await folder();
        const row = Array.from({ length: 8 }, (_, at) => step(`echo ${at} >> ${there}/seen`));
        const job = await t.api.made<{ id: number }>('/api/v1/jobs', {
          name: `windows ${randomUUID()}`,
          steps: named([...row, step('exit 3'), step(`echo after >> ${there}/seen`)]),
        });
        const run = await t.api.made<{ id: number }>(`/api/v1/jobs/${job.id}/run`, { targetIds: [id] });
        const steps = await ended(run.id);
        expect(steps.map(({ status }) => status)).toEqual([
          ...row.map(() => 'succeeded'),
          ...['failed', 'skipped'],
        ]);
        expect(await readFile(`${there}/seen`, 'utf8')).toBe(row.map((_, at) => `${at}\n`).join(''));
        return steps;
      });
    } finally {
      await host.stop();
    }
  },
  120_000,
);
