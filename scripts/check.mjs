// npm run check: format, lint, types and tests.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
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
if (!values.static) {
  checks.push({ name: 'Tests', command: [process.execPath, 'scripts/test.mjs'] });
}

const failed = [];
for (const { name, command } of checks) {
  process.stdout.write(`\n── ${name}\n`);
  const startedMs = Date.now();
  const [file, ...args] = command;
  const child = spawn(file, args, { cwd: root, stdio: 'inherit' });
  const [code] = await Promise.race([
    once(child, 'exit'),
    once(child, 'error').then(([error]) => [error.message]),
  ]);
  const seconds = ((Date.now() - startedMs) / 1000).toFixed(1);
  process.stdout.write(`── ${name}: ${code === 0 ? 'well' : 'FAILED'} after ${seconds} s\n`);
  if (code !== 0) failed.push(name);
}
process.stdout.write(failed.length === 0 ? '\nAll is well.\n' : `\nFailed: ${failed.join(', ')}\n`);
process.exit(failed.length === 0 ? 0 : 1);
