// The path of a secret value through the system: it must not be readable anywhere along the way.
import { execFileSync } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { RunDetail, RunSealingKeys, Step } from '@opsconductor/protocol';
import { decodeBase64, sealRunValue, verifyRoster } from '@opsconductor/protocol/sealing';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { filesIn } from './support/leak-places.ts';
import { dumpRows } from './support/open-at-rest.ts';
import { ScriptJobs } from './support/script-jobs.ts';
import { setup, type TestSystem } from './support/system.ts';

let t: TestSystem;
let jobs: ScriptJobs;
let home: string;
beforeAll(async () => {
  t = await setup({ account: true });
  jobs = new ScriptJobs(t);
  home = jobs.home;
}, 120_000);
afterAll(() => t?.[Symbol.asyncDispose]());

/** Everything that the system has written anywhere, as text. */
async function everythingWritten(): Promise<string> {
  return [await dumpRows(t.sql), t.server.output, t.agent.output, filesIn(t.agent.dataDir)].join('\n');
}

test('a secret is used on the host and can be read nowhere else', async () => {
  const secret = `s3cr3t-${randomBytes(12).toString('hex')}`;
  const derived = `d3rived-${randomBytes(12).toString('hex')}`;
  const json = `j3on-${randomBytes(12).toString('hex')}`;
  const gate = await t.gate();
  const id = await jobs.start(
    await jobs.make(
      [
        {
          id: 'login',
          command: [
            'printf %s "${{ parameters.token }}" >used; echo "the token is ${{ parameters.token }}!"',
            'printf %s "$TOKEN" | base64; printf %s "$TOKEN" | od -An -tx1 | tr -d " \\n"; echo',
            // Reversed, so that the agent has never seen it before.
            `${gate.wait}; r=$(printf %s '${[...derived].reverse().join('')}' | rev)`,
            'printf "session=%s\\n" "$r" >>"$OPSCONDUCTOR_OUTPUT"; echo "plain=$TOKEN" >>"$OPSCONDUCTOR_OUTPUT"',
          ].join('\n'),
          config: { environment: { TOKEN: '${{ parameters.token }}' } },
          outputs: { session: { file: true, secret: true }, plain: { file: true } },
        },
        {
          id: 'json',
          command: `echo "{\\"key\\":\\"$(printf %s '${[...json].reverse().join('')}' | rev)\\",\\"id\\":5}"; echo told >&2`,
          outputs: { key: { json: '/key', secret: true }, id: { json: '/id' } },
        },
        {
          command:
            'printf %s "${{ steps.login.outputs.session }}" >session; printf %s "${{ steps.json.outputs.key }}" >key; cat session key; echo " ${{ steps.json.outputs.id }} ${{ steps.login.outputs.plain }}"',
        },
        {
          command: 'true',
          config: { working_directory: '/nowhere/${{ parameters.token }}' },
        },
      ],
      { token: { type: 'string', secret: true } },
    ),
    { token: secret },
  );
  const reader = t.read(id);
  await t.until(async () => expect(existsSync(join(home, 'used'))).toBe(true));
  // While it runs, no process has it among its arguments.
  const commandLines = execFileSync('sh', [
    '-c',
    'cat /proc/[0-9]*/cmdline 2>/dev/null | tr "\\0" " "',
  ]).toString();
  expect(commandLines).toContain('sshd');
  expect(commandLines).not.toContain(secret);
  await gate.open();
  const { status, steps, output } = await t.api.runEnds(id);
  await reader.end();
  expect({ status, steps }).toMatchObject({
    status: 'failed',
    steps: [
      { status: 'succeeded' },
      { status: 'succeeded' },
      { status: 'succeeded' },
      { status: 'failed', reason: 'working_directory' },
    ],
  });
  expect(readFileSync(join(home, 'used'), 'utf8')).toBe(secret);
  expect(readFileSync(join(home, 'session'), 'utf8')).toBe(derived);
  expect(readFileSync(join(home, 'key'), 'utf8')).toBe(json);
  expect(output[0]).toBe('the token is ********!\n********\n********\n');
  expect(output[1]).toContain('[stdout is not shown: a secret output is read from it]\n');
  expect(output[1]).toContain('told\n');
  expect(output[2]).toBe('**************** 5 ********\n');
  expect(steps[3]?.errorMessage).toBe(
    'The working directory /nowhere/******** does not exist; the command was not started.',
  );
  expect(steps[0]?.handedOn).toEqual([
    { name: 'plain', value: '********', secret: false },
    { name: 'session', secret: true },
  ]);
  const { text: detail } = await t.api.get(`/api/v1/runs/${id}`);
  expect(JSON.parse(detail).parameters).toEqual([{ name: 'token', secret: true, isDefault: false }]);
  const { text: audit } = await t.api.get('/api/v1/audit?limit=200');
  expect(audit).toContain('run.started');
  const written = [
    await everythingWritten(),
    detail,
    audit,
    steps.map((_, at) => reader.text(stepIdOf(steps, at))).join(),
  ].join('\n');
  for (const each of [secret, derived, json]) {
    const bytes = Buffer.from(each);
    for (const spelling of [each, bytes.toString('hex'), bytes.toString('base64').slice(0, -4)]) {
      expect(written.includes(spelling), `${spelling} is to be read`).toBe(false);
    }
  }
});

test('text in the form of a secret is masked if the job asks for that, and the run says what it was', async () => {
  const token = `ghp_${randomBytes(18).toString('hex')}`;
  const written = [...token].reverse().join('');
  const job = {
    ...{ name: `job ${randomUUID()}`, detect_secrets: true },
    steps: [
      {
        ...{ id: 'one', name: 'one', type: 'ssh.exec' },
        config: { command: `t=$(echo ${written} | rev); echo "a $t"; echo "v=$t" >>"$OPSCONDUCTOR_OUTPUT"` },
        outputs: { v: { file: true } },
      },
      { name: 'two', type: 'ssh.exec', config: { command: 'echo "${{ steps.one.outputs.v }}"' } },
    ],
  };
  const { id: jobId } = await t.api.made<{ id: number }>('/api/v1/jobs', job);
  const id = await jobs.start(jobId);
  const ended = await t.api.runEnds(id);
  expect(ended.output).toEqual(['a ********\n', '********\n']);
  const { body } = await t.api.get<{ steps: Step[] }>(`/api/v1/runs/${id}/steps`);
  expect(body.steps.map(({ detections }) => detections)).toEqual([
    [
      { kind: 'github_token', place: 'stdout', count: 1 },
      { kind: 'github_token', place: 'text', count: 1 },
    ],
    [],
  ]);
  expect(JSON.stringify(body)).not.toContain(token);
}, 60_000);

test('a secret sealed by the client reaches the host; a value sealed for something else can not be opened', async () => {
  const secret = `sealed-${randomBytes(9).toString('hex')}`;
  const jobId = await jobs.make([{ command: 'printf %s "${{ parameters.token }}" >sealed-used' }], {
    token: { type: 'string', secret: true },
  });
  const targetIds = [t.targetId];
  const keys = await t.api.made<RunSealingKeys>(`/api/v1/jobs/${jobId}/sealing-keys`, { targetIds });
  const [key] = keys.segments;
  if (key === undefined) throw new Error('no key');
  const { installationId, segmentId, generation } = key;
  await verifyRoster(decodeBase64(key.rootPublicKey), key.roster, {
    installationId,
    segmentId,
    minNumber: 1,
  });
  const id = randomUUID();
  const start = async (name: string) => {
    const binding = { installationId, jobId, id, step: '', name, segmentId, generation };
    const sealed = await sealRunValue({
      segmentPublicKey: decodeBase64(key.publicKey),
      binding,
      value: secret,
    });
    const secretParameters = { id, values: { token: [{ segmentId, sealed }] } };
    const run = await t.api.made<RunDetail>(`/api/v1/jobs/${jobId}/run`, { targetIds, secretParameters });
    return t.api.runEnds(run.id);
  };
  expect(await start('token')).toMatchObject({ status: 'succeeded' });
  expect(readFileSync(join(home, 'sealed-used'), 'utf8')).toBe(secret);
  const moved = await start('other');
  expect(moved.steps).toMatchObject([{ status: 'failed', reason: 'value_refused' }]);
  expect(moved.steps[0]?.errorMessage).toMatch(/The secret parameters\.token could not be opened/);
});

test('a script starts a run with a secret that its own machine seals', async () => {
  const secret = `scripted-${randomBytes(9).toString('hex')}`;
  const jobId = await jobs.make([{ command: 'printf %s "${{ parameters.token }}" >scripted-used' }], {
    token: { type: 'string', secret: true },
  });
  const file = (name: string, content: object) => {
    const path = join(t.sshd.dir, name);
    writeFileSync(path, JSON.stringify(content), { mode: 0o600 });
    return path;
  };
  const args = [
    ...['start-run', '--server', t.api.url, '--job', String(jobId), '--secrets', '-'],
    ...['--request', file('request.json', { targetIds: [t.targetId] })],
    ...['--roots', join(t.sshd.dir, 'roots.json'), '--learn-roots'],
  ];
  const printed = execFileSync(
    process.execPath,
    [join(import.meta.dirname, '../.cache/build/agent.mjs'), ...args],
    {
      input: JSON.stringify({ token: secret }),
      env: { PATH: process.env.PATH, OPSCONDUCTOR_API_TOKEN: t.api.token },
    },
  );
  const { id } = JSON.parse(printed.toString()) as RunDetail;
  expect(await t.api.runEnds(id)).toMatchObject({ status: 'succeeded' });
  expect(readFileSync(join(home, 'scripted-used'), 'utf8')).toBe(secret);
  expect(printed.toString()).not.toContain(secret);
});

function stepIdOf(steps: readonly { id: number }[], at: number): number {
  return steps[at]?.id ?? 0;
}
