// Writes a benchmark's section of docs/benchmarks.md in place of the one that was there.
import { readFile, writeFile } from 'node:fs/promises';
import { cpus, totalmem } from 'node:os';
import { resolve } from 'node:path';

const file = resolve(import.meta.dirname, '../docs/benchmarks.md');
const head = `# Benchmarks

Each section is written by the command it names, on the machine it names, with encryption at rest, masking and durable
commits on. Product and peer take turns in one run; what counts is the ratio, not the time. All processes (server,
PostgreSQL, agent, sshd, reader) share the machine.

\`latency\`, \`stream\`, \`steps\`, \`fanout\`, \`queue\` and \`files\` have runs with 50 secrets beside those without; what masking alone does is \`masking\`. The others can't: no
run takes part in \`audit\`, \`claims\`, \`import\`, \`jobs\` and \`targets\`, \`winrm\` drives the agent’s client without a server, and \`dispatch\` and \`agents\` are what \`queue\` is, with other peers or more agents.
`;

export interface Report {
  /** Key of the section, and the name after \`npm run bench\`. */
  name: string;
  title: string;
  rows: readonly (readonly [figure: string, value: string, goal: string])[];
  notes: readonly string[];
}

export async function writeReport(report: Report): Promise<void> {
  const known = await readFile(file, 'utf8').catch(() => head);
  const start = `<!-- ${report.name} -->`;
  const end = `<!-- /${report.name} -->`;
  const section = [
    start,
    `## ${report.title}`,
    '',
    `\`npm run bench ${report.name}\`, ${new Date().toISOString().slice(0, 10)}, ${machine()}.`,
    '',
    '| figure | measured | goal |',
    '|---|---|---|',
    ...report.rows.map(([figure, value, goal]) => `| ${figure} | ${value} | ${goal} |`),
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
  await writeFile(file, next);
  for (const [figure, value, goal] of report.rows)
    process.stdout.write(`${figure}: ${value} (goal: ${goal})\n`);
}

function machine(): string {
  return `${cpus().length} cores (${cpus()[0]?.model.trim() ?? 'unknown'}), ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.versions.node}`;
}
