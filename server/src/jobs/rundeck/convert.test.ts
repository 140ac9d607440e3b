// Thirty realistic exports from Rundeck, each with the resulting bundle and report. `-u` rewrites them: read what has
// changed.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { BundledJob, ImportFormat } from '@opsconductor/protocol';
import { describe, expect, it } from 'vitest';
import { type ReadJob, readJobs } from '../bundles/reading/read-jobs.ts';
import { writeBundle } from '../bundles/write-bundle.ts';

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

it('there are thirty', () => {
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

it('XML is recognized and refused', () => {
  const steps = [...readJobs('\n<joblist><job/></joblist>', 'rundeck')];
  expect(steps.flatMap(({ problems }) => problems.map(({ message }) => message))).toEqual([
    'XML is not supported: export the jobs as YAML or JSON (`rd jobs list -F yaml`).',
  ]);
});
