// Thirty realistic exports from Rundeck, each with the resulting bundle and report. `-u` rewrites them: read what has
// changed.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { BundledJob, ImportFormat } from '@opsconductor/protocol';
import { describe, expect, it } from 'vitest';
import { type ReadJob, readJobs } from '../bundles/reading/read-jobs.ts';
import { writeBundle } from '../bundles/write-bundle.ts';
import { convertRundeckJob } from './convert-job.ts';

const folder = join(import.meta.dirname, 'fixtures');
const fixtures = readdirSync(folder).filter((name) => /\.(yaml|json)$/.test(name));

function read(text: string, format: ImportFormat): ReadJob[] {
  const steps = [...readJobs(text, format)];
  expect(steps.flatMap(({ problems }) => problems)).toEqual([]);
  return steps.flatMap(({ job }) => (job === undefined ? [] : [job]));
}

function bundleOf(jobs: readonly ReadJob[]): string {
  const bundled = jobs.flatMap(({ entry }): BundledJob[] =>
    entry === undefined
      ? []
      : [{ definition: entry.definition, ...(entry.firstState && { state: entry.firstState }) }],
  );
  return writeBundle(bundled, 'yaml');
}

function reportOf(jobs: readonly ReadJob[]): string {
  const lines = jobs.flatMap(({ findings }) =>
    findings.map(
      ({ kind, line, path, message }) => `${line}: ${kind}: ${path === '' ? '(job)' : path}: ${message}`,
    ),
  );
  return lines.map((line) => `${line}\n`).join('');
}

it('all thirty exported files are converted', () => {
  expect(fixtures.length).toBe(30);
});

describe.each(fixtures)('%s', (file) => {
  const text = readFileSync(join(folder, file), 'utf8');
  const name = file.replace(/\.\w+$/, '');

  it('becomes this bundle, with this report', async () => {
    const jobs = read(text, 'rundeck');
    expect(jobs.flatMap(({ problems }) => problems)).toEqual([]);
    await expect(bundleOf(jobs)).toMatchFileSnapshot(join(folder, 'expected', `${name}.bundle.yml`));
    await expect(reportOf(jobs)).toMatchFileSnapshot(join(folder, 'expected', `${name}.report.txt`));
  });

  it('is valid as a bundle, and unchanged when read and written again', () => {
    const bundle = bundleOf(read(text, 'rundeck'));
    const again = read(bundle, 'bundle');
    expect(again.flatMap(({ problems }) => problems)).toEqual([]);
    const jobs = again.map(({ entry }) => ({ ...entry, ...(entry?.state && { firstState: entry.state }) }));
    expect(bundleOf(jobs.map((entry) => ({ entry }) as ReadJob))).toBe(bundle);
  });

  it('loses nothing without a report, whose paths exist in the file', () => {
    const lines = text.split('\n').length;
    for (const { findings } of read(text, 'rundeck')) {
      expect(findings.map(({ line }) => line)).toEqual(
        findings.map(({ line }) => line).sort((a, b) => a - b),
      );
      for (const { line } of findings) expect(line).toBeLessThanOrEqual(lines);
    }
  });
});

it.each([
  ['{}', ['The delay of the retry is not a fixed duration.']],
  ['${option.wait}', ['The delay ${option.wait} is not a fixed duration.']],
  ['', []],
  ['2m', []],
])('a retry with the delay “%s” is reported like this', (delay, told) => {
  const [job] = read(
    `- name: Try\n  retry:\n    retry: 2\n    delay: ${delay}\n  sequence:\n    commands:\n    - exec: uptime\n`,
    'rundeck',
  );
  expect(job?.entry?.definition.steps[0]?.retry?.attempts).toBe(3);
  const messages = job?.findings.filter(({ path }) => path === 'retry.delay').map(({ message }) => message);
  expect(messages).toEqual(told);
});

it('a job with more commands than a job has steps is refused before any of them is converted', () => {
  const commands = (count: number) =>
    Array.from({ length: count }, () => ({ exec: 'uptime', errorhandler: { exec: 'false' } }));
  const told = (count: number) =>
    convertRundeckJob({ name: 'Long', sequence: { commands: commands(count) } }).problems;
  expect(told(50)).toEqual([]);
  expect(told(20_000)).toEqual([
    {
      path: 'sequence.commands',
      message: 'The job has 40000 commands and error handlers; a job has at most 100 steps. Split it.',
    },
  ]);
});

it('a megabyte of slashes or dots in a group or a tag is converted', () => {
  const given = { group: `a${'/'.repeat(1_000_000)}b`, tags: `a${'.'.repeat(1_000_000)}b` };
  const commands = [{ exec: 'uptime' }];
  const { definition } = convertRundeckJob({ name: 'Hostile', ...given, sequence: { commands } });
  expect(definition).toMatchObject({ category: 'a/b', labels: { a: '' } });
});

// Each of them took minutes where a search began anew at each of its beginnings.
it.each([
  ["'${a.", (text: string) => ({ exec: text })],
  ["'@a.b", (text: string) => ({ exec: text })],
  ['${option.', (text: string) => ({ exec: text })],
  ['${data.', (text: string) => ({ script: text })],
  ['([', (text: string) => logFilter(text)],
  [' ', (text: string) => ({ script: 'uptime', args: `a${text}b` })],
])('a megabyte of “%s” is converted', (piece, commandOf) => {
  const command = commandOf(piece.repeat(1_000_000 / piece.length));
  const { definition } = convertRundeckJob({ name: 'Hostile', sequence: { commands: [command] } });
  expect(definition?.steps).toHaveLength(1);
});

function logFilter(regex: string) {
  const filter = { type: 'key-value-data', config: { regex } };
  return { exec: 'echo ${data.x}', plugins: { LogFilter: [filter] } };
}

it('what runs after a failure is skipped without the data that it uses', () => {
  const text = (keepgoing: boolean) => `- name: Check
  sequence:
    keepgoing: ${keepgoing}
    commands:
    - exec: curl -s localhost
      plugins: { LogFilter: [{ type: key-value-data, config: { regex: '^(status|host)=(.+)$' } }] }
    - exec: echo \${data.status} \${data.host} \${data.status}
      errorhandler: { script: 'echo "$RD_DATA_STATUS"' }
    - exec: uptime
`;
  const conditions = (keepgoing: boolean) =>
    read(text(keepgoing), 'rundeck')[0]?.entry?.definition.steps.map(({ when }) => when);
  const status = 'has(steps.step_1.outputs.status)';
  const both = `${status} && has(steps.step_1.outputs.host)`;
  expect(conditions(true)).toEqual([undefined, both, status, undefined]);
  expect(conditions(false)).toEqual([undefined, undefined, status, undefined]);
  const told = read(text(true), 'rundeck')[0]?.findings.filter(({ message }) => message.includes('skipped'));
  expect(told?.map(({ kind, path }) => `${kind} ${path}`)).toEqual([
    'changed sequence.commands[1]',
    'changed sequence.commands[1].errorhandler',
  ]);
});

it('a job with a PowerShell script is for WinRM in all its steps', () => {
  const text = `- name: Mixed
  options: [{ name: host }]
  sequence:
    commands:
    - exec: Test-Connection "\${option.host}"
      errorhandler: { script: Get-Date, scriptInterpreter: powershell.exe }
    - script: "date # it's"
    - jobref: { name: Other }
`;
  const [job] = read(text, 'rundeck');
  const steps = job?.entry?.definition.steps.map(({ type, config }) => [type, Object(config).command]) ?? [];
  expect(steps.map(([type]) => type)).toEqual(Array.from({ length: 4 }, () => 'winrm.exec'));
  expect(steps[0]?.[1]).toBe('Test-Connection "${{ parameters.host }}"');
  expect(steps[2]?.[1]).toMatch(
    /# date # it's\n\[Console\]::Error\.WriteLine\('[^'’]* WinRM, [^'’]*'\)\nexit 1/,
  );
  expect(job?.entry?.firstState).toBe('draft');
  expect(
    job?.findings.flatMap(({ kind, path }) => (path.includes('commands') ? [`${kind} ${path}`] : [])),
  ).toEqual([
    'changed sequence.commands[0].exec',
    'changed sequence.commands[0].errorhandler',
    'left_out sequence.commands[1].script',
    'left_out sequence.commands[2].jobref',
  ]);
});

it('a name from the file ends no text in the PowerShell of a step that stands for another', () => {
  const [job] = read(
    `- name: Mixed
  sequence:
    commands:
    - { script: Get-Date, scriptInterpreter: powershell.exe }
    - { type: "a'b‘c’d‚e‛f; Remove-Item x", nodeStep: true }
`,
    'rundeck',
  );
  const said = String(Object(job?.entry?.definition.steps[1]?.config).command)
    .split('\n')
    .find((line) => line.startsWith('[Console]'));
  // All of these are the same quote to PowerShell.
  expect(said).toMatch(/^\[Console\]::Error\.WriteLine\('[^'‘’‚‛]*Remove-Item[^'‘’‚‛]*'\)$/);
});

it('XML is recognized and refused', () => {
  const steps = [...readJobs('\n<joblist><job/></joblist>', 'rundeck')];
  expect(steps.flatMap(({ problems }) => problems.map(({ message }) => message))).toEqual([
    'XML is not supported: export the jobs as YAML or JSON (`rd jobs list -F yaml`).',
  ]);
});
