// A bundle that is exported, imported into an empty installation and exported again is the same file.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { JobDefinition } from '@opsconductor/protocol';
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { step } from '../testing.ts';
import { setVersionName } from '../versions/version-names.ts';
import { readJobs } from './reading/read-jobs.ts';
import { setupImports, type TestImports } from './testing.ts';
import { writeBundle } from './write-bundle.ts';

let t: TestImports;
beforeAll(async () => {
  t = await setupImports();
});
afterAll(() => t.close());
beforeEach(empty);

async function empty(): Promise<void> {
  await t.sql`delete from jobs`;
  await t.sql`delete from categories where id <> 1`;
}

/** Text as it occurs in commands: what YAML could take for something else, and what it can't write plainly. */
const awkward = fc.oneof(
  fc.string({ unit: 'binary', minLength: 1, maxLength: 60 }),
  fc.string({
    unit: fc.constantFrom(
      '\n',
      ' ',
      '\t',
      '\r',
      '#',
      ':',
      '-',
      '"',
      "'",
      '\\',
      '|',
      '>',
      '%',
      '@',
      'a',
      '\u0085',
      '\u2028',
    ),
    minLength: 1,
    maxLength: 40,
  }),
  fc.constantFrom(
    'yes',
    'no',
    'null',
    '~',
    '1',
    '1.0',
    '0x1f',
    '1e3',
    'on',
    '2026-01-31',
    '- a',
    '? a',
    '&a',
    '*a',
    '!a',
    '{a',
    '[a',
    '%a',
    '---',
    '...',
    ' leading',
    'trailing ',
    'line\n',
    ' \n',
    '\n\nlines\n\n',
    '  deep\n deep',
    'a: b',
    'a #b',
    '\ttab',
    'cr\r\nlf\r\n',
    '\ufeffmark',
    `${'long '.repeat(80)}\n${'x'.repeat(300)}`,
    '=',
    '<<',
    '12:30:45',
    '.inf',
    'é\u0301👩‍👩‍👧',
    '#!/bin/sh\n\tset -e\n',
  ),
);
const stored = awkward.filter((text) => !text.includes('\0') && text.isWellFormed() && !text.includes('${{'));

const definition = fc.record({
  description: fc.option(stored, { nil: undefined }),
  labels: fc.dictionary(
    fc.constantFrom('env', 'a.b', 'x/y', '1', 'yes'),
    fc.constantFrom('', 'prod', 'no', '1.0', 'a b'),
    { maxKeys: 3 },
  ),
  category: fc.constantFrom('general', 'prod', 'prod/db', 'yes/no', '1'),
  template: fc.boolean(),
  environment: fc.dictionary(fc.stringMatching(/^[A-Z_]{1,5}$/), stored, { maxKeys: 3 }),
  commands: fc.array(stored, { minLength: 1, maxLength: 3 }),
  default: stored,
});

describe('a bundle', () => {
  it.each(['yaml', 'json'] as const)(
    'as %s is read back as it was written, whatever it contains',
    (format) => {
      fc.assert(
        fc.property(fc.array(definition, { minLength: 1, maxLength: 3 }), (parts) => {
          const jobs = parts.map((part, n) => ({ definition: definitionOf(part, n) }));
          const text = writeBundle(jobs, format);
          const read = [...readJobs(text, 'bundle')].flatMap(({ job }) => job ?? []);
          const valid = read.flatMap(({ entry }) =>
            entry === undefined ? [] : [{ definition: entry.definition }],
          );
          // What the definition schema refuses is reported; what it accepts is read back as the same text.
          expect(valid.length + read.filter(({ problems }) => problems.length > 0).length).toBe(jobs.length);
          for (const { definition: one } of valid) {
            const given = jobs.find(({ definition: other }) => other.name === one.name);
            expect(one).toMatchObject(JSON.parse(JSON.stringify(given?.definition)));
          }
          expect(writeBundle(valid, format)).toBe(
            writeBundle(
              [...readJobs(writeBundle(valid, format), 'bundle')].flatMap(({ job }) =>
                job?.entry === undefined ? [] : [{ definition: job.entry.definition }],
              ),
              format,
            ),
          );
        }),
        { numRuns: 60 },
      );
    },
  );

  it('is the same after an import into an empty installation', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(definition, { minLength: 1, maxLength: 4 }),
        fc.constantFrom('yaml', 'json'),
        async (parts, format) => {
          await empty();
          const jobs = parts.map((part, n) => ({ definition: definitionOf(part, n) }));
          await t.apply(await t.plan(onlyValid(jobs)));
          const states = 'draft,active,inactive,archived';
          const first = await t.exportText({ format: format as 'yaml' | 'json', state: states });
          await empty();
          expect((await t.apply(await t.plan(first))).status).toBe('applied');
          expect(await t.exportText({ format: format as 'yaml' | 'json', state: states })).toBe(first);
        },
      ),
      { numRuns: 8 },
    );
  });

  it('has states, tags, channels and templates, and nothing specific to its installation', async () => {
    const starter = await t.create({ name: 'starter', template: true });
    const made = await t.create({ name: 'made' }, { state: 'draft' });
    await t.sql`update jobs set made_from_job_id = ${starter.id}, made_from_version = 1 where id = ${made.id}`;
    const old = await t.create({ name: 'old', labels: { env: 'prod' } });
    await t.sql`update jobs set state = 'archived' where id = ${old.id}`;
    await t.change(starter.id, { description: 'second' });
    for (const [name, kind, version] of [
      ['v1', 'tag', 1],
      ['v2', 'tag', 2],
      ['stable', 'channel', 2],
      ['last', 'channel', 1],
    ] as const) {
      await setVersionName(t.sql, starter.id, { name, kind, version }, t.caller);
    }
    const first = await t.exportText({ state: 'draft,active,archived' });
    expect(first).toMatch(
      /^format: opsconductor-jobs\nversion: 1\njobs:\n {2}- definition:\n {6}name: made\n/,
    );
    expect(first).toContain('    state: draft\n    made_from: starter\n');
    expect(first).toContain('    tags:\n      - v2\n    channels:\n      - stable\n');
    expect(first).not.toMatch(/\bada\b|version: 2|checksum/);
    await empty();
    await t.apply(await t.plan(first));
    expect(await t.exportText({ state: 'draft,active,archived' })).toBe(first);
  });

  it('has parameters in the order of the job, and so does the imported job', async () => {
    const text = { type: 'string', default: '' } as const;
    const inner = { type: 'object', required: false, properties: { z: text, a: text } } as const;
    await t.create({ name: 'asks', parameters: { zone: text, inner, area: text } });
    const first = await t.exportText({});
    const names = [...first.matchAll(/^ {8,14}(zone|inner|area|z|a):$/gm)].map(([, name]) => name);
    expect(names).toEqual(['zone', 'inner', 'z', 'a', 'area']);
    await empty();
    await t.apply(await t.plan(first));
    expect(await t.exportText({})).toBe(first);
  });

  it('as shown in docs/bundles.md can be imported unchanged', async () => {
    const docs = await readFile(join(import.meta.dirname, '../../../../docs/bundles.md'), 'utf8');
    const text = /```yaml\n(format:[^`]*)```/.exec(docs)?.[1] ?? '';
    expect(await t.plan(text)).toMatchObject({ status: 'planned', counts: { create: 1 } });
  });

  it('of some jobs is chosen by ids or by a filter, among those that the caller sees', async () => {
    const { id } = await t.create({ name: 'one', labels: { env: 'prod' } });
    await t.create({ name: 'two' });
    expect(await t.exportText({ ids: String(id) })).toBe(await t.exportText({ label: 'env=prod' }));
    expect(await t.exportText({ search: 'nothing' })).toBe(
      'format: opsconductor-jobs\nversion: 1\njobs: []\n',
    );
    await expect(t.exportText({ ids: `${id},999` })).rejects.toThrow('There is no such job.');
    await expect(t.exportText({ ids: '1', search: 'one' })).rejects.toThrow('give either ids or filters');
  });
});

function definitionOf(
  part: typeof definition extends fc.Arbitrary<infer T> ? T : never,
  n: number,
): JobDefinition {
  const { description, labels, category, template, environment, commands } = part;
  return {
    name: `job ${n}`,
    ...(description === undefined ? {} : { description }),
    category,
    ...(Object.keys(labels).length === 0 ? {} : { labels }),
    ...(template ? { template } : {}),
    parameters: { x: { type: 'string', default: part.default } },
    steps: commands.map((command, at) => ({
      ...step(`step ${at}`, { command, ...(at === 0 ? { environment } : {}) }),
      type: 'ssh.exec' as const,
    })),
  };
}

/** Returns a bundle of only those jobs that can be saved. */
function onlyValid(jobs: readonly { definition: JobDefinition }[]): string {
  const read = [...readJobs(writeBundle(jobs, 'yaml'), 'bundle')].flatMap(({ job }) => job ?? []);
  return writeBundle(
    read.flatMap(({ entry }) => (entry === undefined ? [] : [{ definition: entry.definition }])),
    'yaml',
  );
}
