import { randomUUID } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { RunDetail, RunExplanation } from '@opsconductor/protocol';
import { afterAll, beforeAll, expect, test } from 'vitest';
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

const hostile = [
  `it's "quoted" \`id\` $(touch ${'/tmp'}/canary) \${HOME} $HOME \\ %PATH% !x! *?[a] ~`,
  ' leading and trailing blanks \t ',
  'two\nlines\n',
  'ünïcödé 日本語 🚀 \u202e\u0007\u001b[31m',
  '; rm -rf /; #',
  '',
];

test('a parameter of each type reaches the target byte for byte, in a script, a variable and a path', async () => {
  const declared = {
    text: { type: 'string' },
    whole: { type: 'integer' },
    ratio: { type: 'number' },
    flag: { type: 'boolean' },
    list: { type: 'array', items: { type: 'string' } },
    map: { type: 'object', properties: { a: { type: 'string' } } },
    dir: { type: 'string' },
  };
  for (const shell of ['sh', 'bash']) {
    const jobId = await jobs.make(
      [
        {
          command: [
            'umask 022',
            'printf %s "${{ parameters.text }}" >text',
            'printf %s ${{ parameters.text }} >word',
            'cat >document <<END\n${{ parameters.text }}\nEND',
            'printf "%s|" "${{ parameters.whole }}" "${{ parameters.ratio }}" "${{ parameters.flag }}" "${{ parameters.map.a }}" >others',
            'printf %s "$TEXT" >variable; printf %s "$MAP" >variable-map; printf %s "$LIST" >variable-list; pwd >where; echo $((${{ parameters.whole }} + 1)) >sum',
          ].join('\n'),
          config: {
            shell,
            working_directory: '${{ parameters.dir }}',
            environment: {
              TEXT: '${{ parameters.text }}',
              MAP: '${{ parameters.map }}',
              LIST: '${{ parameters.list }}',
            },
          },
        },
      ],
      declared,
    );
    for (const text of hostile) {
      const dir = join(home, randomUUID());
      mkdirSync(dir);
      chmodSync(dir, 0o777);
      const given = {
        text,
        whole: -7,
        ratio: 1.5,
        flag: true,
        list: ["a'b", '$(id)'],
        map: { a: 'x "y"' },
        dir,
      };
      const id = await jobs.start(jobId, given);
      expect(await t.api.runEnds(id)).toMatchObject({ status: 'succeeded', steps: [{ exitCode: 0 }] });
      const read = (name: string) => readFileSync(join(dir, name), 'utf8');
      expect(read('text')).toBe(text);
      expect(read('word')).toBe(text);
      expect(read('document')).toBe(`${text}\n`);
      expect(read('variable')).toBe(text);
      expect(read('variable-map')).toBe('{"a":"x \\"y\\""}');
      expect(read('variable-list')).toBe(`["a'b","$(id)"]`);
      expect(read('others')).toBe('-7|1.5|true|x "y"|');
      expect(read('sum')).toBe('-6\n');
      expect(read('where')).toBe(`${dir}\n`);
    }
  }
  expect(existsSync('/tmp/canary')).toBe(false);
});

test('values handed on by pattern, JSON and file reach later steps exactly', async () => {
  const text = 'x;$(id) `y` "z" \\ \'q\' ü';
  const { id, status, steps, output } = await jobs.run([
    {
      id: 'find',
      command: [
        'echo "version: 1.2.2"; echo "version: 1.2.3 "; echo "at: here" >&2',
        `printf '%s\\n' 'text=${text.replaceAll("'", "'\\''")}' 'empty=' >>"$OPSCONDUCTOR_OUTPUT"`,
        'printf "lines<<EOT\\none\\n two =\\nEOT\\nnobody=asked\\n" >>"$OPSCONDUCTOR_OUTPUT"',
        'stat -c "%a %U" "$OPSCONDUCTOR_OUTPUT" "${OPSCONDUCTOR_OUTPUT%/*}"',
      ].join('\n'),
      outputs: {
        version: { pattern: '^version: (\\S+)' },
        at: { pattern: '^at: (?P<value>.*)$', from: 'stderr' },
        text: { file: true },
        empty: { file: true },
        lines: { file: true },
        other: { file: true, default: 'default' },
      },
    },
    {
      id: 'json',
      command: `echo '{"n": 12345678901234567890, "deep": [{"a/b": "v\\u00e4l"}], "o": { "k" : [1, 2] }}'`,
      outputs: {
        number: { json: '/n' },
        deep: { json: '/deep/0/a~1b' },
        object: { json: '/o' },
      },
    },
    {
      command: [
        'printf "<%s>" "${{ steps.find.outputs.version }}" "${{ steps.find.outputs.at }}" "${{ steps.find.outputs.text }}"',
        'printf "<%s>" "${{ steps.find.outputs.empty }}" "${{ steps.find.outputs.lines }}" "${{ steps.find.outputs.other }}"',
        'printf "<%s>" "${{ steps.json.outputs.number }}" "${{ steps.json.outputs.deep }}" "${{ steps.json.outputs.object }}"',
      ].join('\n'),
    },
  ]);
  expect({ status, steps }).toMatchObject({ status: 'succeeded' });
  expect(output[0]).toContain(`600 ${t.sshd.user}\n700 ${t.sshd.user}\n`);
  expect(output[2]).toBe(
    `<1.2.3><here><${text}><><one\n two =><default><12345678901234567890><väl><{"k":[1,2]}>`,
  );
  expect(steps[0]?.handedOn).toEqual([
    { name: 'at', value: 'here', secret: false },
    { name: 'empty', value: '', secret: false },
    { name: 'lines', value: 'one\n two =', secret: false },
    { name: 'other', value: 'default', secret: false },
    { name: 'text', value: text, secret: false },
    { name: 'version', value: '1.2.3', secret: false },
  ]);
  expect(id).toBeGreaterThan(0);
  // Nothing of it remains on the target.
  await t.until(async () => {
    expect(readdirSync(join(home, '.opsconductor/attempts')).filter((name) => name.endsWith('.out'))).toEqual(
      [],
    );
  });
});

test('a step whose output is missing fails, and says which one and why', async () => {
  const { status, steps } = await jobs.run([
    {
      id: 'a',
      command: 'echo nothing; echo "this line is wrong" >"$OPSCONDUCTOR_OUTPUT"; exit 0',
      outputs: { version: { pattern: 'version: (.*)' }, json: { json: '/a' }, file: { file: true } },
    },
    { command: 'echo ${{ steps.a.outputs.version }}' },
  ]);
  expect(status).toBe('failed');
  expect(steps).toMatchObject([
    { status: 'failed', reason: 'output_missing', exitCode: 0 },
    { status: 'skipped', reason: 'predecessor' },
  ]);
  expect(steps[0]?.errorMessage).toBe(
    'The command ended well, but the step can not hand on all of its outputs. 3 outputs of the step are missing: version: its pattern matches nowhere; json: standard output is not one JSON value; file: line 1 is neither `name=value` nor `name<<END` in the file OPSCONDUCTOR_OUTPUT.',
  );
});

test('a file of outputs that is a link, a device or too long is refused', async () => {
  const outputs = { x: { file: true } };
  const why = async (command: string) => (await jobs.run([{ command, outputs }])).steps[0]?.errorMessage;
  const replaced = 'rm "$OPSCONDUCTOR_OUTPUT";';
  expect(await why(`${replaced} ln -s /etc/passwd "$OPSCONDUCTOR_OUTPUT"`)).toMatch(/no longer a regular/);
  expect(await why(`${replaced} mkfifo "$OPSCONDUCTOR_OUTPUT"`)).toMatch(/no longer a regular/);
  expect(await why('yes x=1 | head -c 2000000 >"$OPSCONDUCTOR_OUTPUT"')).toMatch(/longer than 1024 KiB/);
  expect(await why(`printf 'x=a\\377b' >"$OPSCONDUCTOR_OUTPUT"`)).toMatch(/not UTF-8/);
  expect(await why(`printf 'x=a\\000b' >"$OPSCONDUCTOR_OUTPUT"`)).toMatch(/contains a NUL/);
});

test('a condition decides on each host whether a step runs; if it can not be evaluated, the step fails', async () => {
  const declared = { env: { type: 'string' }, note: { type: 'string', required: false } };
  const { status, steps } = await jobs.run(
    [
      { id: 'probe', command: 'echo load=7', outputs: { load: { pattern: 'load=(\\d+)' } } },
      { command: 'echo low', when: 'int(steps.probe.outputs.load) < 5' },
      { command: 'echo high', when: 'int(steps.probe.outputs.load) >= 5 && parameters.env == "prod"' },
      { command: 'echo ${{ parameters.note }}', when: 'has(parameters.note)' },
      {
        id: 'odd',
        command: 'echo odd',
        outputs: { is: { pattern: '(.*)' } },
        when: 'target.name == "other"',
      },
      { command: 'echo it', when: 'int(parameters.env) > 1' },
    ],
    declared,
    { env: 'prod' },
  );
  expect(status).toBe('failed');
  expect(steps).toMatchObject([
    { status: 'succeeded' },
    { status: 'skipped', reason: 'condition_false', startedAt: null },
    { status: 'succeeded' },
    { status: 'skipped', reason: 'condition_false' },
    { status: 'skipped', reason: 'condition_false' },
    { status: 'failed', reason: 'condition_error' },
  ]);
  expect(steps[5]?.errorMessage).toMatch(/its condition \(`when`\) could not be evaluated/);
  expect(steps[5]?.errorMessage).not.toContain('prod');
});

test('an agent that can not fill in placeholders is not given such a step, and explain says so', async () => {
  const jobId = await jobs.make([{ command: 'echo ${{ parameters.x }}' }], { x: { type: 'string' } });
  const [before] = await t.sql<
    { capabilities: string[] }[]
  >`select capabilities from agent_sessions order by session_number desc limit 1`;
  // As an agent of the previous version would have reported.
  await t.sql`update agent_sessions set capabilities = '{}'`;
  const id = await jobs.start(jobId, { x: 'hello' });
  const { body } = await t.api.get<RunExplanation>(`/api/v1/runs/${id}/explain`);
  expect(JSON.stringify(body)).toMatch(/fill in/);
  expect((await t.steps(id))[0]?.status).toBe('ready');
  await t.sql`update agent_sessions set capabilities = ${before?.capabilities ?? []}::text[]`;
  expect(await t.api.runEnds(id)).toMatchObject({ status: 'succeeded', output: ['hello\n'] });
});

test('values that a step has handed on survive its agent', async () => {
  const gate = await t.gate();
  const id = await jobs.start(
    await jobs.make(
      [
        {
          id: 'first',
          command: `echo "a=\${{ parameters.x }}" >>"$OPSCONDUCTOR_OUTPUT"; echo version=4; ${gate.wait}; echo b=2 >>"$OPSCONDUCTOR_OUTPUT"`,
          config: { survive_agent_restart: true },
          outputs: {
            a: { file: true },
            b: { file: true, secret: true },
            version: { pattern: 'version=(.*)' },
          },
        },
        { command: 'echo "${{ steps.first.outputs.a }} ${{ steps.first.outputs.version }}" | tr a-z A-Z' },
      ],
      { x: { type: 'string', secret: true } },
    ),
    { x: 'sesame-open' },
  );
  await t.until(async () => expect((await t.steps(id))[0]?.outputBytes).toBeGreaterThan(0));
  await t.agent.kill9();
  const journal = readFileSync(join(t.agent.dataDir, 'journal'), 'utf8');
  expect(journal).not.toContain('sesame-open');
  expect(journal).not.toContain('echo b=2');
  await t.agent.start();
  await gate.open();
  const { status, steps, output } = await t.api.runEnds(id);
  expect({ status, steps }).toMatchObject({ status: 'succeeded' });
  expect(output[1]).toBe('******** 4\n');
  expect(steps[0]?.handedOn).toContainEqual({ name: 'b', secret: true });
  await t.until(async () => {
    const attempts = join(home, '.opsconductor/attempts');
    expect(readdirSync(attempts).flatMap((name) => readdirSync(join(attempts, name)))).toEqual([]);
  });
});

test('a rerun from a later step has the values that earlier steps had handed on', async () => {
  const first = await jobs.run([
    {
      id: 'find',
      command: 'echo "open=7"; echo "hidden=sesame-inside" >>"$OPSCONDUCTOR_OUTPUT"',
      outputs: { open: { pattern: 'open=(.*)' }, hidden: { file: true, secret: true } },
    },
    {
      command:
        'echo "${{ steps.find.outputs.open }} ${{ steps.find.outputs.hidden }}"; printf %s "${{ steps.find.outputs.hidden }}" >hidden; exit 1',
    },
  ]);
  expect(first).toMatchObject({ status: 'failed', output: [expect.anything(), '7 ********\n'] });
  // Twice: the second rerun gets it from the first, which hasn't run the step either.
  let from = first.id;
  for (const _ of [1, 2]) {
    rmSync(join(home, 'hidden'));
    const again = await t.api.made<RunDetail>(`/api/v1/runs/${from}/rerun`, {
      which: 'failed',
      from_step: 2,
    });
    const ended = await t.api.runEnds(again.id);
    expect(ended.steps).toMatchObject([{ status: 'skipped', reason: 'rerun' }, { exitCode: 1 }]);
    expect(ended.output[1]).toBe('7 ********\n');
    expect(readFileSync(join(home, 'hidden'), 'utf8')).toBe('sesame-inside');
    from = again.id;
  }
});

test('a rerun has the same values as its run', async () => {
  const declared = {
    x: { type: 'string' },
    y: { type: 'integer', default: 3 },
    token: { type: 'string', secret: true },
  };
  const first = await jobs.run(
    [
      {
        command: 'echo "${{ parameters.x }} ${{ parameters.y }}"; printf %s "${{ parameters.token }}" >again',
      },
    ],
    declared,
    { x: 'a', token: 'correct-horse' },
  );
  const again = await t.api.made<RunDetail>(`/api/v1/runs/${first.id}/rerun`, { which: 'all' });
  const shown = [
    { name: 'x', value: 'a', secret: false, isDefault: false },
    { name: 'y', value: 3, secret: false, isDefault: true },
    { name: 'token', secret: true, isDefault: false },
  ];
  expect(again.parameters).toEqual(shown);
  expect((await t.api.runEnds(again.id)).output).toEqual(first.output);
  expect(readFileSync(join(home, 'again'), 'utf8')).toBe('correct-horse');
});
