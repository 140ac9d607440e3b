import { expect, test } from 'vitest';
import { checkStep, renderStep, scopeOf } from './index.ts';
import { scopeFor, valuesFor } from './testing.ts';

const scope = scopeFor();
const problemsOf = (command: string) => checkStep({ type: 'ssh.exec', config: { command } }, scope);

test('a placeholder becomes a reference, and its value a binding', () => {
  const config = { command: 'cd /srv && tar -cf - -- ${{parameters.text}} "$HOME/${{ parameters.text }}"' };
  const step = { type: 'ssh.exec', config };
  expect(checkStep(step, scope)).toEqual([]);
  expect(renderStep(step, scope, valuesFor({ text: "it's $(here)" }))).toEqual({
    rendered: {
      config: { command: 'cd /srv && tar -cf - -- "${OPS_1}" "$HOME/${OPS_1}"' },
      bindings: [{ name: 'OPS_1', type: 'string', value: "it's $(here)", secret: false }],
      masked: [],
    },
  });
});

test('every problem of a step is reported at once, with its place and the right way to write it', () => {
  const config = {
    command: 'echo \'${{ parameters.text }}\'\nsh -c "${{ parameters.nothing }}"',
    working_directory: '${{ parameters.list }}',
    timeout: 5,
  };
  const problems = checkStep({ type: 'ssh.exec', config }, { ...scope, path: 'steps[2]' });
  expect(problems).toMatchObject([
    {
      path: 'steps[2].config.command',
      message: expect.stringMatching(/^Line 2, column 8: The job has no parameter "nothing"\. Declare it/),
    },
    {
      path: 'steps[2].config.working_directory',
      message: expect.stringMatching(/^Line 1, column 1: .* is an array/),
    },
  ]);
  const misplaced = checkStep(
    { type: 'ssh.exec', config: { command: config.command.split('\n')[0] } },
    scope,
  );
  expect(misplaced).toEqual([
    {
      path: 'steps[0].config.command',
      message:
        'Line 1, column 7: ${{ parameters.text }} stands in single quotes, where the shell expands nothing. Use double quotes: "…${{ parameters.text }}…".',
      found: "echo '${{ parameters.text }}'",
    },
  ]);
});

test('names of variables never occur in the step itself', () => {
  const step = {
    type: 'ssh.exec',
    config: { command: 'echo ${{parameters.text}} $OPS_1', environment: { ops__x: 'a' } },
  };
  const result = renderStep(step, scope, valuesFor({ text: 'a' }));
  expect(result.rendered?.bindings[0]?.name).toBe('OPS___1');
});

test('a value that may be absent requires a condition', () => {
  const parameters = { note: { type: 'string' as const, required: false } };
  const step = { name: 's', type: 'ssh.exec' as const, config: { command: 'echo ${{ parameters.note }}' } };
  const check = (more: object) => {
    const whole = { ...step, ...more };
    return checkStep(whole, scopeOf({ parameters, steps: [whole] }, 0));
  };
  expect(check({})[0]?.message).toContain('when: has(parameters.note).');
  expect(check({ when: 'has( parameters.note ) && true' })).toEqual([]);
  expect(renderStep(step, scopeOf({ parameters, steps: [step] }, 0), valuesFor({}))).toEqual({
    problems: [{ path: 'steps[0].config.command', message: '${{ parameters.note }} has no value.' }],
    missing: true,
  });
});

test('a leading dash is refused where it could be an option', () => {
  const render = (command: string, more = {}) =>
    renderStep({ type: 'ssh.exec', config: { command } }, scopeFor(more), valuesFor({ text: '--help' }));
  for (const command of [
    'sort ${{parameters.text}}',
    'sort "${{parameters.text}}"',
    'sort "$x${{parameters.text}}"',
  ]) {
    expect(render(command)).toMatchObject({
      problems: [{ message: expect.stringContaining('begins with a dash') }],
    });
    expect(render(command, { allow_leading_dash: true })).toHaveProperty('rendered');
  }
  for (const command of [
    'sort -- ${{parameters.text}}',
    'sort "./${{parameters.text}}"',
    "printf '%s\\n' ${{parameters.text}}",
    'cat <<E\n${{parameters.text}}\nE',
    'sort <${{parameters.text}}',
    'case ${{parameters.text}} in a) ;; esac',
  ]) {
    expect(problemsOf(command)).toEqual([]);
    expect(render(command)).toHaveProperty('rendered');
  }
});

test('names and fields that are not text can not contain placeholders', () => {
  const config = {
    command: 'true',
    environment: { '${{parameters.text}}': 'x', PATH: '/x:${{ parameters.text }}' },
  };
  expect(checkStep({ type: 'ssh.exec', config }, scope).map(({ message }) => message)).toEqual([
    'A name takes no placeholder: write the name itself, and the value behind it.',
    expect.stringContaining('would set PATH, which tells the shell, or programs, what to run'),
  ]);
});

test('a value is data in what a command reads, and never code', () => {
  const fed = (command: string, more: object = {}) =>
    checkStep({ type: 'ssh.exec', config: { command, stdin: 'x ${{ parameters.text }}\n', ...more } }, scope);
  expect(fed('while read -r line; do echo "$line"; done')).toEqual([]);
  expect(fed('python3 count.py')).toEqual([]);
  for (const command of [
    'sh',
    'bash -s -- one',
    'f() { sh; }\nf',
    'if true; then xargs rm; fi',
    'python3 -',
    'read -r line; eval "$line"',
    'while read -r line; do sh -c "$line"; done',
  ]) {
    expect(fed(command)).toMatchObject([
      { path: 'steps[0].config.stdin', message: expect.stringMatching(/^Line 1, column 3/) },
    ]);
  }
  const python = { interpreter: 'python3' };
  expect(fed('import sys; print(sys.stdin.read())', python)).toEqual([]);
  for (const [interpreter, command] of [
    ['bash', 'read -r line; eval "$line"'],
    ['/usr/local/bin/zsh', 'cat | sh'],
    // These may run what arrives on their input, whatever file they are called with.
    ['fish', 'cat'],
    ['psql', 'select 1'],
    ['ssh', 'true'],
    ['xargs', 'true'],
  ] as const) {
    expect(fed(command, { interpreter })).toMatchObject([
      { path: 'steps[0].config.stdin', message: expect.stringMatching(/^Line 1, column 3/) },
    ]);
  }
  expect(fed('while read -r line; do echo "$line"; done', { interpreter: 'bash' })).toEqual([]);
  const inProgram = fed('print("${{ parameters.text }}")', python);
  expect(inProgram).toMatchObject([{ path: 'steps[0].config.command' }]);
  expect(inProgram[0]?.message).toContain('Let python3 read the value from its environment or from stdin');
});

test('a shell that a step names as its interpreter does not run what its environment holds', () => {
  const check = (command: string, interpreter: string) =>
    checkStep(
      {
        type: 'ssh.exec',
        config: { command, interpreter, environment: { WHAT: '${{ parameters.text }}' } },
      },
      scope,
    );
  expect(check('eval "$WHAT"', 'ksh')).toMatchObject([
    { path: 'steps[0].config.command', message: expect.stringMatching(/^Line 1, column/) },
  ]);
  expect(check('echo "$WHAT"', 'ksh')).toEqual([]);
  expect(check('import os; print(os.environ["WHAT"])', 'python3')).toEqual([]);
});

test('a value can not select other files than the step names', () => {
  const render = (type: string, config: object, text: string) =>
    renderStep({ type, config }, scope, valuesFor({ text }));
  const push = { local_path: '/srv/${{ parameters.text }}/*.zip', remote_path: 'C:\\in' };
  const pull = { local_path: '/srv/in', remote_path: 'C:\\out\\${{ parameters.text }}', direction: 'pull' };
  const upload = { local_path: '/srv/${{ parameters.text }}.tar', remote_path: '/in' };
  const download = { local_path: '/srv/in', remote_path: '~/${{ parameters.text }}' };
  for (const [type, config] of [
    ['winrm.copy', push],
    ['winrm.copy', pull],
    ['sftp.upload', upload],
    ['sftp.download', download],
  ] as const) {
    expect(render(type, config, 'a')).toMatchObject({ rendered: {} });
    for (const text of ['*', 'a?']) {
      expect(render(type, config, text)).toMatchObject({
        problems: [{ message: expect.stringContaining('has * or ? in it') }],
      });
    }
  }
});
