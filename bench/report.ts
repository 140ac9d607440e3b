// Replaces a benchmark's section in docs/benchmarks.md, and updates the table of missed goals.
import { readFile, writeFile } from 'node:fs/promises';
import { cpus, totalmem } from 'node:os';
import { resolve } from 'node:path';
import { markOf, rowText, withMissedGoals } from './goals.ts';

const file = resolve(import.meta.dirname, '../docs/benchmarks.md');

export interface Report {
  /** Key of the section, and the argument of `npm run bench`. */
  name: string;
  title: string;
  /** A goal refers to the first number of the value, or to the one after its first p99 (see `markOf`). */
  rows: readonly (readonly [figure: string, value: string, goal: string])[];
  notes: readonly string[];
}

export async function writeReport(report: Report): Promise<void> {
  const known = await readFile(file, 'utf8');
  const start = `<!-- ${report.name} -->`;
  const end = `<!-- /${report.name} -->`;
  const section = [
    start,
    `## ${report.title}`,
    '',
    `\`npm run bench ${report.name}\`, ${new Date().toISOString().slice(0, 10)}, ${machine()}.`,
    '',
    '| figure | measured | goal | reached |',
    '|---|---|---|---|',
    ...report.rows.map(([figure, value, goal]) => rowText([figure, value, goal, markOf(value, goal)])),
    '',
    ...report.notes.map((note) => `- ${note}`),
    end,
    '',
  ].join('\n');
  const from = known.indexOf(start);
  const to = known.indexOf(end);
  const next =
    from === -1 || to === -1
      ? `${known.trimEnd()}\n\n${section}`
      : `${known.slice(0, from)}${section.trimEnd()}${known.slice(to + end.length)}`;
  await writeFile(file, withMissedGoals(next));
  for (const [figure, value, goal] of report.rows)
    process.stdout.write(`${figure}: ${value} (goal: ${goal}) ${markOf(value, goal)}\n`);
}

function machine(): string {
  return `${cpus().length} cores (${cpus()[0]?.model.trim() ?? 'unknown'}), ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.versions.node}`;
}
