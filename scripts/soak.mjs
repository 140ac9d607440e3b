// npm run soak -- servers [--minutes 10] [--beside <checkout>]: runs the test of several servers for the given time.
// With `--beside`, one server and one agent come from another built checkout. Prints what it counted.
import { spawn } from 'node:child_process';
import { resolve } from 'node:path';
import { argumentsOrUsage } from './arguments-or-usage.mjs';
import { buildAll } from './build.mjs';

const root = resolve(import.meta.dirname, '..');
const files = { servers: 'test/many-servers.test.ts' };
const usage = `Usage: npm run soak -- ${Object.keys(files).join('|')} [--minutes 1..1440] [--beside CHECKOUT]\n`;
const { positionals, values } = argumentsOrUsage(usage, {
  allowPositionals: true,
  options: { minutes: { type: 'string', default: '10' }, beside: { type: 'string' } },
});
const [name] = positionals;
const minutes = Number(values.minutes);
if (positionals.length !== 1 || files[name] === undefined || !(minutes > 0 && minutes <= 1_440)) {
  process.stderr.write(usage);
  process.exit(2);
}
await buildAll();
const child = spawn(
  process.execPath,
  [resolve(root, 'node_modules/vitest/vitest.mjs'), 'run', files[name], '-t', 'under load'],
  {
    cwd: root,
    stdio: 'inherit',
    env: {
      ...process.env,
      OPSCONDUCTOR_SOAK_MINUTES: String(minutes),
      ...(values.beside === undefined ? {} : { OPSCONDUCTOR_SOAK_BESIDE: resolve(values.beside) }),
    },
  },
);
child.on('exit', (code) => process.exit(code ?? 1));
