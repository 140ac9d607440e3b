// npm run check: format, lint, types and tests.
import { spawn } from 'node:child_process';
import { join, resolve } from 'node:path';
import { argumentsOrUsage } from './arguments-or-usage.mjs';

const usage = `npm run check -- [--static]

Checks format, lint, import rules and types, then runs the suite: all of them even if an early one fails.

  --static   leaves out the suite
`;
const { values } = argumentsOrUsage(usage, { options: { static: { type: 'boolean', default: false } } });

const root = resolve(import.meta.dirname, '..');
const bin = (name) => join(root, 'node_modules/.bin', name);

const checks = [
  { name: 'Format and lint', command: [bin('biome'), 'ci', '--error-on-warnings', '.'] },
  { name: 'Types', command: [bin('tsc'), '--noEmit', '-p', 'tsconfig.json'] },
  {
    name: 'Types of the console',
    command: [bin('svelte-check'), '--tsconfig', 'ui/tsconfig.json', '--fail-on-warnings'],
  },
];
const failed = [];

/** Resolves with whether the check found nothing. With `shown`, its output is passed on at once, else at its end. */
async function run({ name, command: [file, ...args] }, shown) {
  const startedMs = Date.now();
  const heading = `\n── ${name}\n`;
  if (shown) process.stdout.write(heading);
  const child = spawn(file, args, { cwd: root, stdio: shown ? 'inherit' : ['ignore', 'pipe', 'pipe'] });
  const output = [];
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (bytes) => output.push(bytes));
  const code = await new Promise((ended) => {
    child.once('close', ended);
    // A program that is not there is a check that fails, and keeps the others from nothing.
    child.once('error', (error) => {
      output.push(Buffer.from(`${error.message}\n`));
      ended(error.code);
    });
  });
  if (!shown) process.stdout.write(Buffer.concat([Buffer.from(heading), ...output]));
  const seconds = ((Date.now() - startedMs) / 1000).toFixed(1);
  process.stdout.write(`── ${name}: ${code === 0 ? 'well' : 'FAILED'} after ${seconds} s\n`);
  if (code !== 0) failed.push(name);
}

process.stdout.write(`${checks.map(({ name }) => name).join(', ')} …\n`);
// Each takes one processor most of the time.
await Promise.all(checks.map((check) => run(check, false)));
if (!values.static) await run({ name: 'Tests', command: [process.execPath, 'scripts/test.mjs'] }, true);
process.stdout.write(failed.length === 0 ? '\nAll is well.\n' : `\nFailed: ${failed.join(', ')}\n`);
process.exit(failed.length === 0 ? 0 : 1);
