import { describe, expect, it } from 'vitest';
import { checkDefinition } from './check-definition.ts';

const step = (config: object, more: object = {}) => ({ name: 'a', type: 'ssh.exec', config, ...more });
const told = (definition: object) =>
  checkDefinition({ name: 'job', ...definition }).map(({ path, message }) => `${path}: ${message}`);

describe('a definition', () => {
  it('may have placeholders in texts whose form is checked when they are filled in', () => {
    const parameters = { dir: { type: 'string' }, n: { type: 'integer' } };
    const config = {
      command: 'true',
      working_directory: '${{ parameters.dir }}',
      environment: { N: '${{ parameters.n }}' },
    };
    const given = { parameters, steps: [step(config)] };
    expect(told(given)).toEqual([]);
    expect(given.steps[0]?.config).toEqual(config);
    expect(told({ parameters, steps: [step({ ...config, working_directory: 'relative' })] })).toHaveLength(1);
  });

  it('is not checked beyond its limits, however large it is', () => {
    // Each step is compared with those before it: checking some ten thousand of them completely takes minutes.
    const many = Array.from({ length: 5_000 }, () => step({ command: '${{ parameters.x }}' }));
    const problems = told({ steps: many, rules: many, locks: many, parameters: { ...many } });
    expect(problems.length).toBeLessThan(1_000);
    expect(problems.filter((problem) => problem.startsWith('steps[100]'))).toEqual([]);
  });

  it('takes placeholders in the paths of a transfer, and no .. beside them', () => {
    const parameters = { name: { type: 'string' } };
    const upload = (local: string, remote: string) =>
      told({
        parameters,
        steps: [step({ local_path: local, remote_path: remote }, { type: 'sftp.upload' })],
      });
    expect(upload('/srv/${{ parameters.name }}.tar', '${{ parameters.name }}/app.tar')).toEqual([]);
    expect(upload('/srv/${{ parameters.name }}', '~/${{ parameters.name }}')).toEqual([]);
    expect(upload('/srv/${{ parameters.name }}/../x', 'opt/${{ parameters.name }}')).toEqual([
      expect.stringMatching(/^steps\[0\]\.config\.local_path: Must be an absolute path/),
      expect.stringMatching(/^steps\[0\]\.config\.remote_path: Must be an absolute path/),
    ]);
  });

  it('gets a message that describes the form of a field', () => {
    const only = (type: string, config: object) => told({ steps: [step(config, { type })] });
    expect(only('winrm.copy', { local_path: '/srv/a', remote_path: 'temp' })).toEqual([
      expect.stringMatching(/remote_path: Must be an absolute path, such as C:/),
    ]);
    expect(only('sftp.upload', { file: 'a/b', remote_path: '/opt/a' })).toEqual([
      expect.stringMatching(/file: Must be the name of a file/),
    ]);
    expect(only('ssh.exec', { command: 'x', interpreter: 'perl -w' })).toEqual([
      expect.stringMatching(/interpreter: Must be the name or the absolute path of one program/),
    ]);
    expect(only('ssh.exec', { command: 'x', become: { user: 'a b' } })).toEqual([
      expect.stringMatching(/become\.user: Must be the name of a user/),
    ]);
  });

  it('deletes only in a mirror', () => {
    const sync = (config: object) =>
      told({
        steps: [step({ local_path: '/srv/a', remote_path: '/opt/a', ...config }, { type: 'sftp.sync' })],
      });
    expect(sync({ delete: true, mode: 'mirror' })).toEqual([]);
    expect(sync({ delete: false, mode: 'update' })).toEqual([]);
    for (const config of [{ delete: true }, { delete: true, mode: 'update' }])
      expect(sync(config)).toEqual([
        expect.stringMatching(/^steps\[0\]\.config\.delete: Only a mirror deletes: say `mode: mirror`/),
      ]);
  });

  it('has exactly one of these on the agent’s side of a transfer: a path, a file of the server, or artifacts', () => {
    const transfer = (type: string, config: object) =>
      told({ steps: [step({ remote_path: '/opt/x', ...config }, { type })] });
    expect(transfer('sftp.upload', { file: 'app-1.tar' })).toEqual([]);
    expect(transfer('ssh.copy', { file: '${{ target.name }}.tar' })).toEqual([]);
    expect(transfer('sftp.download', { artifact: true })).toEqual([]);
    for (const type of ['sftp.upload', 'ssh.copy', 'sftp.download'])
      expect(transfer(type, {})).toEqual([
        expect.stringMatching(/^steps\[0\]\.config\.local_path: Is missing/),
      ]);
    expect(transfer('sftp.upload', { file: 'a', local_path: '/srv/a' })).toEqual([
      expect.stringMatching(/^steps\[0\]\.config\.file: A copy comes from one place/),
    ]);
    expect(transfer('ssh.copy', { file: 'a', direction: 'pull' })).toEqual([
      expect.stringMatching(/^steps\[0\]\.config\.file: Only with `direction: push`/),
    ]);
    expect(transfer('sftp.download', { artifact: true, local_path: '/srv/a' })).toEqual([
      expect.stringMatching(/^steps\[0\]\.config\.artifact: /),
    ]);
    expect(transfer('sftp.upload', { file: '../a' })).toHaveLength(1);
  });

  it('has no placeholder in place of a number, or where nothing is filled in', () => {
    const parameters = { n: { type: 'integer' } };
    const config = { command: 'true', timeout: '${{ parameters.n }}' };
    expect(
      told({
        parameters,
        name: 'Deploy ${{ parameters.n }}',
        steps: [step(config, { connection: { credential: '${{ parameters.n }}' } })],
      }),
    ).toEqual([
      'steps[0].config.timeout: timeout takes an integer from 1 to 604800: counted from the start of the command, in seconds; a placeholder can’t stand here.',
      'name: Placeholders don’t work here: they go into `command`, `working_directory` and the values of `environment` of a step.',
      'steps[0].connection.credential: Placeholders don’t work here: they go into `command`, `working_directory` and the values of `environment` of a step.',
    ]);
  });

  it('reports a parameter that is itself wrong only once', () => {
    const parameters = { n: { type: 'integr' }, m: { type: 'integer', minLength: 1 } };
    const steps = [
      step({ command: 'echo "${{ parameters.n }}"' }, { when: 'parameters.n == 1 && parameters.m == 1' }),
    ];
    expect(told({ parameters, rules: [{ check: 'parameters.n > 1' }], steps })).toEqual([
      expect.stringMatching(/^parameters\.n\.type: Must be one of/),
      'parameters.m.minLength: minLength is for strings; parameters.m is of type integer.',
    ]);
  });

  it('has no secret that would be lost with its agent, and at most as many secrets as a step can be given', () => {
    const kept = { command: 'true', survive_agent_restart: true };
    const outputs = { a: { json: '/a', secret: true }, b: { file: true, secret: true }, c: { json: '/c' } };
    expect(told({ steps: [step({ command: 'true' }, { outputs })] })).toEqual([]);
    expect(told({ steps: [step(kept, { outputs })] })).toEqual([
      expect.stringMatching(/^steps\[0\]\.outputs\.a\.secret: .* write it to the file instead\.$/),
    ]);
    const many = Object.fromEntries(
      Array.from({ length: 32 }, (_, n) => [`o${n}`, { file: true, secret: true }]),
    );
    const steps = Array.from({ length: 9 }, (_, n) =>
      step({ command: 'true' }, { name: `s${n}`, outputs: many }),
    );
    expect(told({ steps: steps.slice(0, 8) })).toEqual([]);
    expect(told({ steps })).toEqual([
      expect.stringMatching(/^steps\[8\]\.outputs\.o0\.secret: A job can have at most 256/),
    ]);
  });
});
