// Jobs on targets reached by WinRM, through server and agent, on a host whose cryptography isn't our own code.
import { execFileSync } from 'node:child_process';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { appendFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  powershellBootstrap,
  type RunDetail,
  type StepTransfers,
  type TestResult,
} from '@opsconductor/protocol';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { canaries } from '../agent/src/masking/testing/canaries.ts';
import { SecretHunter } from '../agent/src/masking/testing/secret-hunter.ts';
import { versionQuestion } from '../agent/src/winrm/checks/test-host.ts';
import { fileServer } from '../agent/src/winrm/files/file-server.ts';
import { cmdRunner } from '../agent/src/winrm/powershell/powershell.ts';
import { taskProgram, taskSupervisor } from '../agent/src/winrm/tasks/task-program.ts';
import { leakPlaces } from './support/leak-places.ts';
import { ensureWinrmFixture } from './support/packages.ts';
import { storeCredential } from './support/sealed-credential.ts';
import { setup, type TestSystem } from './support/system.ts';
import { startWinrm, type WinrmFixture, winrmPassword, winrmRealm, winrmUser } from './support/winrm.ts';

const missing = 'missing' in (await ensureWinrmFixture());

const principal = `${winrmUser}@${winrmRealm}`;

async function setupWinrm(t: TestSystem, host: WinrmFixture) {
  const ports = [host.port('http'), host.port('https')];
  const credentialId = await storeCredential(t.api, t.segmentId, 'windows', {
    kind: 'winrm_password',
    user: winrmUser,
    password: winrmPassword,
    bounds: {
      hosts: [host.host],
      networks: [],
      ports,
      protocols: ['winrm'],
      user: winrmUser,
      authentication: ['ntlm'],
    },
  });
  await storeCredential(t.api, t.segmentId, 'worker', {
    kind: 'winrm_password',
    user: 'worker',
    password: 'of the worker',
    bounds: {
      ...{ hosts: [host.host], networks: [], ports, protocols: ['winrm'] },
      ...{ user: 'worker', authentication: ['run_as'] },
    },
  });
  const make = (name: string, port: number, settings: Record<string, unknown>) =>
    t.api.made<{ id: number }>('/api/v1/targets', {
      segmentId: t.segmentId,
      name,
      host: host.host,
      port,
      credentialId,
      operatingSystem: 'windows',
      settings: { protocol: 'winrm', ...settings },
    });
  const sealed = await make('win-http', host.port('http'), { winrm_transport: 'http' });
  const { certificate } = host.certificate('sha256');
  const tls = await make('win-https', host.port('https'), { winrm_ca: certificate });
  const start = async (definition: Record<string, unknown>, targetIds: number[], more = {}) => {
    const job = await t.api.made<{ id: number }>('/api/v1/jobs', {
      name: `job ${Math.random()}`,
      ...definition,
    });
    const run = await t.api.made<RunDetail>(`/api/v1/jobs/${job.id}/run`, { targetIds, ...more });
    return { id: run.id, reader: t.read(run.id) };
  };
  return { credentialId, make, sealed: sealed.id, tls: tls.id, start };
}

let t: TestSystem;
let host: WinrmFixture;
let windows: Awaited<ReturnType<typeof setupWinrm>>;

beforeAll(async () => {
  if (missing) return;
  t = await setup({ files: true });
  host = await startWinrm({
    emulated: {
      ...{ bootstrap: powershellBootstrap, cmdRunner, fileServer, taskProgram, taskSupervisor },
      scripts: { [versionQuestion]: 'echo 5.1.20348.1' },
    },
    settings: { taskUsers: { worker: 'of the worker' } },
    kerberos: true,
  });
  windows = await setupWinrm(t, host);
});
afterAll(async () => {
  await host?.stop();
  await t?.[Symbol.asyncDispose]();
});

test.skipIf(missing)(
  'jobs run by WinRM, sealed over HTTP and over HTTPS, with values, exit codes, files and a cancel',
  async () => {
    await mkdir(host.drive, { recursive: true });
    await writeFile(join(t.filesDir, 'app.txt'), 'of the application');
    for (const id of [windows.sealed, windows.tls]) {
      const { body } = await t.api.post<TestResult>(`/api/v1/targets/${id}/test`);
      expect(body).toMatchObject({
        ok: true,
        serverVersion: expect.stringContaining('Stack: 3.0, PowerShell 5.1.20348.1'),
      });
    }

    const { id, reader } = await windows.start(
      {
        parameters: { word: { type: 'string' }, secret: { type: 'string', secret: true } },
        steps: [
          {
            name: 'one',
            type: 'winrm.exec',
            // PowerShell's stand-in runs it with /bin/sh, in which ${OPS_1} is also the variable.
            config: { command: '# sh\necho "one: ${{ parameters.word }}"' },
            outputs: { first: { pattern: 'one: (\\S+)' } },
          },
          {
            name: 'two',
            type: 'winrm.exec',
            config: {
              shell: 'cmd',
              command: 'echo two $A\r\nexit 10',
              environment: { A: '${{ steps.one.outputs.first }}' },
              expected_exit_codes: [10],
            },
          },
          {
            name: 'three',
            type: 'winrm.copy',
            config: {
              local_path: join(t.filesDir, '*.txt'),
              remote_path: 'C:\\apps\\${{ target.name }}',
              create_directories: true,
            },
            outputs: { created: { pattern: '(\\d+) created' } },
          },
        ],
      },
      [windows.sealed, windows.tls],
      { parameters: { word: 'a "quoted" $word', secret: 'never shown' } },
    );
    expect(await reader.end()).toBe('succeeded');
    for (const step of await t.steps(id)) {
      const said = ['one: a "quoted" $word\n', 'two a\n', expect.stringContaining('1 created')];
      expect(reader.text(step.id)).toEqual(said[step.stepNumber - 1]);
      const found = [[{ name: 'first', value: 'a' }], undefined, [{ name: 'created', value: '1' }]];
      expect(step.handedOn?.map(({ name, value }) => ({ name, value }))).toEqual(found[step.stepNumber - 1]);
    }
    for (const name of ['win-http', 'win-https']) {
      const copied = await readFile(join(host.drive, 'apps', name, 'app.txt'), 'utf8');
      expect(copied).toBe('of the application');
    }
    const third = (await t.steps(id)).find(({ stepNumber }) => stepNumber === 3);
    const { body } = await t.api.get<StepTransfers>(`/api/v1/runs/${id}/steps/${third?.id}/transfers`);
    expect(body.items).toMatchObject([{ operation: 'upload', fileSize: 18, status: 'completed' }]);
    expect(body.items[0]?.remotePath).toMatch(/^C:\\apps\\win-https?\\app\.txt$/);

    const cancelled = await windows.start(
      {
        steps: [{ name: 'long', type: 'winrm.exec', config: { command: '# sh\necho ready; sleep 1000' } }],
      },
      [windows.sealed],
    );
    const [long] = await t.steps(cancelled.id);
    await cancelled.reader.until(() => cancelled.reader.text(long?.id ?? 0) === 'ready\n', 'that it runs');
    await t.api.made(`/api/v1/executor/cancel/${cancelled.id}`);
    expect(await cancelled.reader.end()).toBe('cancelled');
    await expect.poll(async () => (await host.stats()).shells, { timeout: 20_000 }).toBe(0);
  },
);

test.skipIf(missing)(
  'of secrets that steps on Windows used and printed, none can be read anywhere',
  async () => {
    // One of each shape; a batch file can't contain what its interpreter would interpret.
    const secrets = canaries().flatMap(({ shape, secret }) => (shape.endsWith('size 0') ? [secret] : []));
    await mkdir(host.drive, { recursive: true });
    await writeFile(join(t.filesDir, 'page.txt'), 'page');
    const forBatch = secrets.findIndex((secret) => /^\w+$/.test(secret));
    const environment = Object.fromEntries(secrets.map((_, n) => [`S${n}`, `\${{ parameters.s${n} }}`]));
    const all = secrets.map((_, n) => `"$S${n}"`).join(' ');
    const print = `printf '%s\\n' ${all}; printf '%s\\n' ${all} >&2; printf '%s\\n' ${all} | base64`;
    const secret = `\${{ parameters.s${forBatch} }}`;
    const always = { when_status: 'always' };
    const copy = (config: object) => ({ type: 'winrm.copy', config, ...always });
    const steps = [
      { type: 'winrm.exec', config: { command: `# sh\n${print}`, environment } },
      { type: 'winrm.exec', config: { command: `# sh\n${print}; exit 3`, environment }, ...always },
      { type: 'winrm.exec', config: { command: '# sh\ncat', stdin: secret }, ...always },
      {
        type: 'winrm.exec',
        config: { run_as: 'system', command: `# sh\n${print}; exit 4`, environment },
        ...always,
      },
      {
        type: 'winrm.exec',
        config: { shell: 'cmd', command: 'echo $A\r\nexit 5', environment: { A: secret } },
        ...always,
      },
      copy({
        local_path: join(t.filesDir, 'page.txt'),
        remote_path: `C:\\${secret}`,
        create_directories: true,
      }),
      copy({ local_path: join(t.filesDir, secret), remote_path: 'C:\\apps' }),
    ].map((step, n) => ({ name: `step ${n}`, id: `step_${n}`, ...step }));
    const names = secrets.map((_, n) => `s${n}`);
    const { id: jobId } = await t.api.made<{ id: number }>('/api/v1/jobs', {
      name: 'leaks by winrm',
      parameters: Object.fromEntries(names.map((name) => [name, { type: 'string', secret: true }])),
      steps,
    });
    const parameters = Object.fromEntries(names.map((name, n) => [name, secrets[n]]));
    const run = await t.api.made<RunDetail>(`/api/v1/jobs/${jobId}/run`, {
      targetIds: [windows.tls],
      parameters,
    });
    const reader = t.read(run.id);
    const ended = await t.api.runEnds(run.id);
    await reader.end();
    const looked = {
      jobId,
      runId: run.id,
      steps: ended.steps,
      streamed: ended.steps.map(({ id }) => reader.text(id)),
    };
    const hunter = new SecretHunter([...secrets, winrmPassword, 'of the worker']);
    for (const [place, written] of Object.entries(await leakPlaces(t, [looked], parameters)))
      expect(hunter.find(written), place).toEqual([]);
    const ends = ['succeeded', 'failed', 'succeeded', 'failed', 'failed', 'succeeded', 'failed'];
    expect(ended.steps.map(({ status }) => status)).toEqual(ends);
    for (const at of [0, 1, 3]) expect(looked.streamed[at]?.match(/\*{8}/g)?.length).toBeGreaterThan(40);
  },
);

test.skipIf(missing)(
  'text in the form of a secret is masked in the output of Windows hosts and in reports of transfers, and the run says what it was',
  async () => {
    await mkdir(host.drive, { recursive: true });
    const token = `ghp_${randomBytes(18).toString('hex')}`;
    const { privateKey } = generateKeyPairSync('ed25519');
    const key = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
    const [keyFile, tokenFile] = [join(host.dir, 'printed-key'), join(host.dir, 'printed-token')];
    await writeFile(keyFile, key.replaceAll('\n', '\r\n'));
    await writeFile(tokenFile, token);
    await writeFile(join(t.filesDir, `page-${token}.txt`), 'page');
    const print = `# sh\ncat ${keyFile}; echo "then $(cat ${tokenFile})"; cat ${tokenFile} >&2`;
    const missingFile = join(t.filesDir, `none-${token}`);
    // The definition keeps what its author wrote, so the token is passed as a value.
    const named = (name: string, type: string, config: object) => ({
      ...{ name, type, config, when_status: 'always' as const },
    });
    const parameters = { name: { type: 'string' }, missing: { type: 'string' } };
    const values = { name: join(t.filesDir, `page-${token}.txt`), missing: missingFile };
    const [present, absent] = ['${{ parameters.name }}', '${{ parameters.missing }}'];
    const kept = { local_path: present, remote_path: 'C:\\kept', create_directories: true };
    const byWinrm = await windows.start(
      {
        ...{ detect_secrets: true, parameters },
        steps: [
          named('printed', 'winrm.exec', { command: print }),
          named('by cmd', 'winrm.exec', { shell: 'cmd', command: `cat ${tokenFile}\r\nexit 5` }),
          named('copied', 'winrm.copy', kept),
          named('not copied', 'winrm.copy', { ...kept, local_path: absent }),
        ],
      },
      [windows.sealed],
      { parameters: values },
    );
    expect(await byWinrm.reader.end()).toBe('failed');
    const steps = await t.steps(byWinrm.id);
    expect(steps.map(({ status }) => status)).toEqual(['succeeded', 'failed', 'succeeded', 'failed']);
    expect(byWinrm.reader.text(steps[0]?.id ?? 0)).toContain('********\r\nthen ********\n');
    expect(byWinrm.reader.text(steps[1]?.id ?? 0)).toBe('********');
    const bySftp = await windows.start(
      {
        ...{ detect_secrets: true, parameters },
        steps: [named('not sent', 'sftp.upload', { local_path: absent, remote_path: '/tmp' })],
      },
      [t.targetId],
      { parameters: values },
    );
    expect(await bySftp.reader.end()).toBe('failed');
    const kinds = [...steps, ...(await t.steps(bySftp.id))].map(({ detections = [] }) =>
      detections.map(({ kind, place, count }) => `${kind} ${place} ${count}`),
    );
    expect(kinds).toEqual([
      ['private_key stdout 1', 'github_token stdout 1', 'github_token stderr 1'],
      ['github_token stdout 1'],
      ['github_token text 1'],
      // The summary and the row of what ended the transfer name the file as well.
      ['github_token stderr 2', 'github_token text 3'],
      ['github_token stderr 2', 'github_token text 3'],
    ]);
    for (const [run, reader] of [
      [byWinrm.id, byWinrm.reader],
      [bySftp.id, bySftp.reader],
    ] as const) {
      for (const { id, ...step } of await t.steps(run)) {
        const transfers = await t.api.get<StepTransfers>(`/api/v1/runs/${run}/steps/${id}/transfers`);
        const told = [reader.text(id), JSON.stringify(step), JSON.stringify(transfers.body)].join('\n');
        expect(told).not.toContain(token);
        for (const line of key.split('\n').filter((each) => !each.startsWith('-') && each !== ''))
          expect(told).not.toContain(line);
      }
    }
  },
);

test.skipIf(missing)(
  'protocols, bounds and unverified certificates that do not fit are refused',
  async () => {
    // By then, shells that the agent opened in advance are gone, and it does nothing else there.
    await expect.poll(async () => (await host.stats()).shells, { timeout: 20_000 }).toBe(0);
    await host.reset();
    const winrmStep = { name: 'w', type: 'winrm.exec', config: { command: 'Get-Date' } };
    const job = await t.api.made<{ id: number }>('/api/v1/jobs', { name: 'by winrm', steps: [winrmStep] });
    const refused = await t.api.post(`/api/v1/jobs/${job.id}/run`, { targetIds: [t.targetId] });
    expect(refused.status).toBe(400);
    expect(JSON.stringify(refused.body)).toContain(
      'is set to be reached by SSH, and a step of the job needs WinRM',
    );
    const other = await t.api.made<{ id: number }>('/api/v1/jobs', {
      name: 'by ssh',
      steps: [{ name: 's', type: 'ssh.exec', config: { command: 'true' } }],
    });
    const wrong = await t.api.post(`/api/v1/jobs/${other.id}/run`, { targetIds: [windows.sealed] });
    expect(JSON.stringify(wrong.body)).toContain(
      'is set to be reached by WinRM, and a step of the job needs SSH',
    );

    // A row that sends the credential elsewhere gets nothing.
    const elsewhere = await windows.make('elsewhere', host.port('plain'), { winrm_transport: 'http' });
    const basic = await windows.make('basic', host.port('https'), { winrm_authentication: 'basic' });
    const unverified = await windows.make('unverified', host.port('https'), {
      winrm_certificate_check: 'skip',
    });
    const { id, reader } = await windows.start({ steps: [winrmStep] }, [
      elsewhere.id,
      basic.id,
      unverified.id,
    ]);
    expect(await reader.end()).toBe('failed');
    const steps = await t.steps(id);
    expect(steps.map(({ reason }) => reason).sort()).toEqual([
      'credential_bounds',
      'credential_bounds',
      'policy_refused',
    ]);
    expect((await host.stats()).handshakes).toBe(0);
  },
);

// The killed agent's shell is removed only when it is idle: nothing after this counts shells.
test.skipIf(missing)(
  'a script that runs as the system continues when its agent is killed, and its task is removed',
  async () => {
    const go = join(host.dir, 'go');
    const wait = `until [ -e ${go} ]; do sleep 0.1; done`;
    const command = `# sh\necho ready; ${wait}; echo "$FIXTURE_USER"; exit 3`;
    const { id, reader } = await windows.start(
      {
        steps: [
          {
            name: 'long',
            type: 'winrm.exec',
            config: { run_as: 'system', command, expected_exit_codes: [3] },
          },
          {
            name: 'as a user',
            type: 'winrm.exec',
            config: {
              command: '# sh\necho "$FIXTURE_USER"; cat; nice; exit 4',
              stdin: 'of the worker, for ${{ target.name }}',
              run_as_credential: 'worker',
              limits: { output_mb: 1 },
            },
          },
        ],
      },
      [windows.sealed],
    );
    const [step, second] = await t.steps(id);
    await reader.until(() => reader.text(step?.id ?? 0) === 'ready\n', 'that it runs');
    const attempt = await t.attempt(id, step?.id ?? 0);
    await t.agent.kill9();
    t.agent.environment = { KRB5_CONFIG: host.krb5Config };
    await appendFile(`${t.agent.policy}`, `ticket_caches: [{ name: deploy, path: ${host.dir}/tickets }]\n`);
    await t.agent.start();
    await writeFile(go, '');
    expect(await reader.end()).toBe('failed');
    expect(reader.text(step?.id ?? 0)).toBe('ready\nSYSTEM\n');
    // The password of the user that it runs as is masked like any secret.
    expect(reader.text(second?.id ?? 0)).toBe('worker\n********, for win-http\n0\n');
    expect(await t.steps(id)).toMatchObject([
      { status: 'succeeded', exitCode: 3, attempt },
      { status: 'failed', exitCode: 4 },
    ]);
    await expect.poll(() => host.tasks, { timeout: 20_000 }).toEqual([]);
  },
);

test.skipIf(missing)(
  'a client certificate, a keytab and a ticket cache on the agent’s machine can be used to log in',
  async () => {
    execFileSync('/usr/bin/kinit', ['-k', '-t', host.keytab, '-c', `FILE:${host.dir}/tickets`, principal], {
      env: { KRB5_CONFIG: host.krb5Config },
    });
    const keytab = (await readFile(host.keytab)).toString('base64');
    const secrets = {
      certificate: { kind: 'winrm_certificate', user: winrmUser, ...host.certificate('client') },
      keytab: { kind: 'winrm_keytab', user: principal, keytab },
      cache: { kind: 'winrm_ticket_cache', user: principal, cache: 'deploy' },
      other: { kind: 'winrm_ticket_cache', user: principal, cache: 'elsewhere' },
    } as const;
    const answers: Record<string, TestResult> = {};
    for (const [name, secret] of Object.entries(secrets)) {
      const authentication: ['certificate' | 'kerberos'] = [
        secret.kind === 'winrm_certificate' ? 'certificate' : 'kerberos',
      ];
      const credentialId = await storeCredential(t.api, t.segmentId, name, {
        ...secret,
        bounds: {
          ...{ hosts: [host.host], networks: [], ports: [host.port('https')] },
          ...{ protocols: ['winrm'], user: secret.user, authentication },
        },
      });
      const { id } = await t.api.made<{ id: number }>('/api/v1/targets', {
        ...{ segmentId: t.segmentId, name: `by ${name}`, host: host.host, port: host.port('https') },
        ...{ credentialId, operatingSystem: 'windows' },
        settings: { protocol: 'winrm', winrm_ca: host.certificate('sha256').certificate },
      });
      answers[name] = (await t.api.post<TestResult>(`/api/v1/targets/${id}/test`)).body;
    }
    for (const name of ['certificate', 'keytab', 'cache'])
      expect(answers[name]).toMatchObject({ ok: true, serverVersion: expect.stringContaining('Stack') });
    expect(answers.other).toMatchObject({ ok: false, reason: 'credential_unusable' });
    expect(answers.other?.message).toContain('names no ticket cache elsewhere');
  },
);
