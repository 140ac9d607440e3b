import {
  type ErrorBody,
  type Job,
  type JobListItem,
  type ShownJob,
  specificationExample,
  type ValidateJobReply,
} from '@opsconductor/protocol';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { newMasterKey } from '../../../credentials/at-rest/master-key.ts';
import { setupApp, type TestApp } from '../../testing.ts';
import { jobRoutes } from './jobs.ts';

let t: TestApp;
let author: string;
beforeEach(async () => {
  t = await setupApp(({ sql }) => jobRoutes({ sql, masterKey: newMasterKey() }));
  author = (await t.user('ada', ['author'])).token;
});
afterEach(() => t.close());

async function call<T>(method: string, path: string, json?: unknown, token = author) {
  const response = await t.request(method, `/api/v1/${path}`, {
    token,
    ...(json === undefined ? {} : { json }),
  });
  return { status: response.status, body: (await response.json()) as T };
}
const step = (name: string, config: object) => ({ name, type: 'ssh.exec', config });

describe('jobs', () => {
  test('are created, listed and opened', async () => {
    const definition = { name: 'Uptime of all', steps: [step('ask', { command: 'uptime' })] };
    const created = await call<Job>('POST', 'jobs', definition);
    expect(created).toMatchObject({
      status: 201,
      body: { name: 'Uptime of all', createdBy: 'ada', version: 1 },
    });
    expect((await call<Job>('GET', `jobs/${created.body.id}`)).body).toEqual({
      ...created.body,
      serverDefaults: { detect_secrets: false },
    });
    const list = await call<{ items: JobListItem[] }>('GET', 'jobs?search=uptime');
    expect(list.body.items).toMatchObject([{ id: created.body.id, lastRuns: [] }]);
    expect((await call<ErrorBody>('POST', 'jobs', definition)).body.error).toMatchObject({
      code: 'conflict',
      details: [{ path: 'name' }],
    });
    expect((await call('GET', 'jobs/999999')).status).toBe(404);
  });

  test('the specification’s example is saved unchanged, and shown with the defaults that it leaves out', async () => {
    const checked = await call<ValidateJobReply>('POST', 'jobs/validate', specificationExample);
    expect(checked.body).toMatchObject({ valid: true, problems: [] });
    const { status, body } = await call<Job>('POST', 'jobs', specificationExample);
    expect({ status, definition: body.definition }).toMatchObject({
      status: 201,
      definition: specificationExample,
    });
    const shown = await call<Job & { defaults: string[] }>('GET', `jobs/${body.id}?defaults=true`);
    expect(shown.body.definition.steps[1]).toMatchObject({
      on_unknown: 'fail',
      config: { shell: 'powershell', timeout: 1800, kill_grace: 10 },
    });
    // A saved job states its category.
    expect(['category', ...shown.body.defaults].sort()).toEqual([...checked.body.defaults].sort());
    expect(shown.body.defaults).toContain('steps[1].config.kill_grace');
    expect(shown.body.defaults).not.toContain('steps[1].config.timeout');
  });

  test('are checked and shown according to the server’s setting for masking secrets by their form', async () => {
    const set = await setupApp(({ sql }) =>
      jobRoutes({ sql, masterKey: newMasterKey(), detectsSecrets: true }),
    );
    try {
      const { token } = await set.user('ada', ['author']);
      const ask = async <T>(method: string, path: string, json?: unknown) => {
        const reply = await set.request(method, `/api/v1/${path}`, { token, ...(json ? { json } : {}) });
        return (await reply.json()) as T;
      };
      const silent = { name: 'silent', steps: [step('ask', { command: 'uptime' })] };
      const checked = await ask<ValidateJobReply>('POST', 'jobs/validate', silent);
      expect(checked).toMatchObject({ valid: true, definition: { detect_secrets: true } });
      expect(checked.defaults).toContain('detect_secrets');
      const { id } = await ask<Job>('POST', 'jobs', silent);
      expect(await ask<ShownJob>('GET', `jobs/${id}`)).toMatchObject({
        definition: silent,
        serverDefaults: { detect_secrets: true },
      });
      const shown = await ask<ShownJob>('GET', `jobs/${id}?defaults=true`);
      expect(shown.definition).toMatchObject({ detect_secrets: true });
      const saying = { ...silent, detect_secrets: false };
      const said = await ask<ValidateJobReply>('POST', 'jobs/validate', saying);
      expect(said.definition).toMatchObject({ detect_secrets: false });
      expect(said.defaults).not.toContain('detect_secrets');
    } finally {
      await set.close();
    }
  });

  test('are checked without being saved, with the same messages as a save; for YAML with line and column', async () => {
    const wrong = { name: 'wrong', steps: [step('a', { command: 'uptime', timeout: '5m' })] };
    const refused = await call<ErrorBody>('POST', 'jobs', wrong);
    const checked = await call<ValidateJobReply>('POST', 'jobs/validate', { definition: wrong, note: 'why' });
    expect(checked).toMatchObject({ status: 200, body: { valid: false, definition: null } });
    const details = refused.body.error.details ?? [];
    expect(checked.body.problems).toEqual(details.map((detail) => ({ ...detail, severity: 'error' })));
    expect((await call<{ items: [] }>('GET', 'jobs')).body.items).toEqual([]);
    const yaml = 'definition:\n  name: wrong\n  timout: 5\n  steps: []\n';
    const response = await t.request('POST', '/api/v1/jobs/validate', {
      token: author,
      headers: { 'Content-Type': 'application/yaml' },
      body: yaml,
    });
    expect(((await response.json()) as ValidateJobReply).problems).toMatchObject([
      { path: 'timout', line: 3, column: 11 },
      { path: 'steps', line: 4, column: 3 },
    ]);
  });

  test('in YAML that is sent as JSON are refused with the content type to send', async () => {
    const response = await t.request('POST', '/api/v1/jobs', { token: author, body: 'name: a\nsteps: []\n' });
    expect(((await response.json()) as ErrorBody).error.message).toBe(
      'The request body is not JSON: line 1, column 1: expected a value. If it is YAML, send Content-Type: application/yaml, and no other.',
    );
  });

  test('are saved like they are created: as the bare definition, with the changed version in the header', async () => {
    const { body: job } = await call<Job>('POST', 'jobs', {
      name: 'bare',
      steps: [step('a', { command: 'uptime' })],
    });
    const put = (yaml: string, query = '', ifMatch = '"1"') =>
      t.request('PUT', `/api/v1/jobs/${job.id}${query}`, {
        token: author,
        headers: { 'Content-Type': 'application/yaml', 'If-Match': ifMatch },
        body: yaml,
      });
    const yaml = 'name: bare\nsteps:\n  - { name: a, type: ssh.exec, config: { command: id } }\n';
    const wrong = (await (await put(`${yaml}timout: 5\n`)).json()) as ErrorBody;
    expect(wrong.error.details).toMatchObject([{ path: 'timout', line: 4, column: 9 }]);
    // A problem in the address has no line in the body.
    const misplaced = (await (await put(yaml, '?note=why')).json()) as ErrorBody;
    expect(misplaced.error.details).toEqual([
      { path: 'query.note', message: 'Is not known here.', allowed: 'no properties' },
    ]);
    const unquoted = (await (await put(yaml, '', '1')).json()) as ErrorBody;
    const allowed = 'the number of a version in quotes: "3"';
    expect(unquoted.error.details).toEqual([
      { path: 'If-Match', message: 'If-Match is not a version.', found: '1', allowed },
    ]);
    const ahead = (await (await put(yaml, '', '"9"')).json()) as ErrorBody;
    expect(ahead.error.details).toMatchObject([{ path: 'If-Match', found: '"9"', allowed: '"1"' }]);
    expect(await (await put(yaml)).json()).toMatchObject({ isNewVersion: true, job: { version: 2 } });
    const stale = await put(yaml.replace('id', 'date'));
    expect(stale.status).toBe(409);
    expect(((await stale.json()) as ErrorBody).error.message).toContain('save again with If-Match: "2".');
  });

  test('are told before a save that their name is taken, unless it is their own', async () => {
    const definition = { name: 'taken', steps: [step('a', { command: 'uptime' })] };
    const { body: job } = await call<Job>('POST', 'jobs', definition);
    const check = async (beside: object) =>
      (await call<ValidateJobReply>('POST', 'jobs/validate', { definition, ...beside })).body;
    const refused = (await call<ErrorBody>('POST', 'jobs', definition)).body.error;
    expect(await check({})).toMatchObject({
      valid: false,
      problems: [{ path: 'name', message: refused.message, severity: 'error' }],
    });
    expect(await check({ jobId: job.id })).toMatchObject({ valid: true, problems: [] });
    await t.request('DELETE', `/api/v1/jobs/${job.id}`, { token: author });
    expect(await check({})).toMatchObject({ valid: true, problems: [] });
  });

  test('with several mistakes in several steps are told all of them at once', async () => {
    const steps = [
      step('a', { command: '', timeout: 0 }),
      step('b', { comand: 'uptime' }),
      step('a', { command: 'x', environment: { '1X': 'y' } }),
    ];
    const { status, body } = await call<ErrorBody>('POST', 'jobs', { name: 'wrong', steps });
    expect(status).toBe(400);
    expect(body.error.details?.map((detail) => detail.path).sort()).toEqual([
      'steps[0].config.command',
      'steps[0].config.timeout',
      'steps[1].config.comand',
      'steps[1].config.command',
      'steps[2].config.environment.1X',
      'steps[2].name',
    ]);
    for (const detail of body.error.details ?? []) expect(detail.message).toMatch(/^[A-Z].*[.?]$/);
  });

  test('are told mistakes inside their steps together with those outside', async () => {
    const steps = [
      { name: 'a', type: 'carrier.pigeon', config: {}, extra: 1 },
      step('b', { command: 5, timeout: 0 }),
      step('b', { command: 'a\0b' }),
      { name: 'd\u202e', type: 'ssh.exec' },
    ];
    const definition = { name: ' x', color: 'red', start_within: 0, description: '\ud800', steps };
    const { status, body } = await call<ErrorBody>('POST', 'jobs', definition);
    expect(status).toBe(400);
    expect(body.error.details?.map((detail) => detail.path).sort()).toEqual([
      'color',
      'description',
      'name',
      'start_within',
      'steps[0].extra',
      'steps[0].type',
      'steps[1].config.command',
      'steps[1].config.timeout',
      'steps[2].config.command',
      'steps[2].name',
      'steps[3].config',
      'steps[3].name',
    ]);
    expect(body.error.message).toMatch(/^The job definition has 12 problems/);
    for (const { found, allowed } of body.error.details ?? []) expect(found ?? allowed).toBeDefined();
  });

  test('with an unknown step type are told the known ones', async () => {
    const steps = [{ name: 'a', type: 'carrier.pigeon', config: {} }];
    const { body } = await call<ErrorBody>('POST', 'jobs', { name: 'wrong', steps });
    expect(body.error.details).toMatchObject([
      { path: 'steps[0].type', allowed: expect.stringContaining('ssh.exec') },
    ]);
  });

  test('of ten megabytes, nested very deeply or with NUL characters are refused, and nothing is logged as a failure', async () => {
    const huge = { name: 'huge', steps: [step('a', { command: 'x'.repeat(10 * 1024 * 1024) })] };
    expect((await call('POST', 'jobs', huge)).status).toBe(413);
    const body = `{"name":"deep","steps":[{"name":"a","type":"ssh.exec","config":${'['.repeat(10_000)}${']'.repeat(10_000)}}]}`;
    expect((await t.request('POST', '/api/v1/jobs', { body, token: author })).status).toBe(400);
    const nul = { name: 'a\0b', description: '\0', steps: [step('x\0', { command: 'uptime' })] };
    const refused = await call<ErrorBody>('POST', 'jobs', nul);
    expect(refused.status).toBe(400);
    expect(refused.body.error.details?.map((detail) => detail.path)).toEqual([
      'name',
      'description',
      'steps[0].name',
    ]);
    expect(t.logged.filter((line) => JSON.parse(line).level === 'error')).toEqual([]);
  });

  test('are edited only with the permission, and their health is shown to everyone who may read', async () => {
    const operator = (await t.user('operator', ['operator'])).token;
    const definition = { name: 'mine', steps: [step('a', { command: 'id' })] };
    expect((await call('POST', 'jobs', definition, operator)).status).toBe(403);
    expect((await call('GET', 'jobs/health', undefined, operator)).body).toEqual({
      status: 'ok',
      jobs: 0,
      openRuns: 0,
      problems: [],
      items: [],
      nextCursor: null,
    });
  });

  test('with a raw splice are saved only by callers who hold the permission for it', async () => {
    const name = 'Restart';
    const action = { type: 'string', enum: ['start', 'stop --now'] };
    const withCommand = (command: string) => ({
      name,
      parameters: { action },
      steps: [step('ask', { command: 'uptime' }), step('do', { command })],
    });
    const raw = withCommand('true\nsystemctl ${{ raw( parameters.action ) }} nginx');
    const refused = await call<ErrorBody>('POST', 'jobs', raw);
    expect(refused).toMatchObject({
      status: 403,
      body: {
        error: {
          code: 'forbidden',
          details: [
            {
              path: 'steps[1].config.command',
              message: expect.stringMatching(
                /^Line 2, column 11: .* needs the permission jobs\.raw_splice on category “general”/,
              ),
              found: '${{ raw(parameters.action) }}',
              allowed: '${{ parameters.action }}',
            },
          ],
        },
      },
    });
    const checked = (await call<ValidateJobReply>('POST', 'jobs/validate', raw)).body;
    expect(checked.problems).toEqual(
      refused.body.error.details?.map((detail) => ({ ...detail, severity: 'error' })),
    );
    // Anyone who saves the job again needs the same permission, whatever they changed.
    const mine = await call<Job>('POST', 'jobs', withCommand('echo ${{ parameters.action }}'));
    expect(mine.status).toBe(201);
    const save = { definition: raw, expectedVersion: 1 };
    expect((await call('PUT', `jobs/${mine.body.id}`, save)).status).toBe(403);
    const admin = (await t.user('root', ['admin'])).token;
    expect((await call('PUT', `jobs/${mine.body.id}`, save, admin)).status).toBe(200);
    const changed = { definition: { ...raw, description: 'Mine now' }, expectedVersion: 2 };
    expect((await call('PUT', `jobs/${mine.body.id}`, changed)).status).toBe(403);
    // A splice that allows any text is refused for everyone.
    const free = { ...raw, parameters: { action: { type: 'string', pattern: 'start|stop' } } };
    expect(
      await call<ErrorBody>('PUT', `jobs/${mine.body.id}`, { ...changed, definition: free }, admin),
    ).toMatchObject({
      status: 400,
      body: {
        error: { details: [{ message: expect.stringContaining('an enum, or a pattern that is anchored') }] },
      },
    });
  });
});
