// npm run fuzz -- [--mutations N] [--seed TEXT]: sends many slightly wrong requests to every route, and frames of every
// type. The test suite tries only a few.
import { spawn } from 'node:child_process';
import { resolve } from 'node:path';
import { argumentsOrUsage } from './arguments-or-usage.mjs';

const root = resolve(import.meta.dirname, '..');
const { values } = argumentsOrUsage('Usage: npm run fuzz -- [--mutations 1..999999] [--seed TEXT]\n', {
  options: {
    mutations: { type: 'string', default: '500' },
    seed: { type: 'string', default: String(Date.now()) },
  },
});
if (!/^[1-9][0-9]{0,5}$/.test(values.mutations)) {
  process.stderr.write('error: --mutations is a whole number from 1 to 999999\n');
  process.exit(2);
}
process.stdout.write(`${values.mutations} mutations of each route and frame type, seed ${values.seed}\n`);
const env = {
  ...process.env,
  OPSCONDUCTOR_FUZZ_MUTATIONS: values.mutations,
  OPSCONDUCTOR_FUZZ_SEED: values.seed,
};
const vitest = spawn('npx', ['vitest', 'run', 'test/fuzz'], { cwd: root, env, stdio: 'inherit' });
vitest.on('exit', (code) => {
  process.exitCode = code ?? 1;
});
