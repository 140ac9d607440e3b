// npm start: builds what has changed, then runs the server in this process.
import { spawnSync } from 'node:child_process';
import { resolve } from 'node:path';
import { endWithProblem } from './explain-start.mjs';
import { openFilesProblem } from './open-files.mjs';

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  process.stderr.write(`OpsConductor needs Node.js 20.19 or newer; this is ${process.versions.node}.\n`);
  process.exit(1);
}
const tooFewFiles = openFilesProblem();
if (tooFewFiles !== undefined) {
  process.stderr.write(`${tooFewFiles}\n`);
  process.exit(1);
}
// The server prints its usage, and needs neither the agent nor the console for that.
const isHelp = process.argv.slice(2).some((argument) => argument === '--help' || argument === '-h');
const parts = isHelp ? ['server'] : [];
// In a separate process, because the server would keep the memory that building takes.
const build = spawnSync(process.execPath, [resolve(import.meta.dirname, 'build.mjs'), ...parts], {
  stdio: isHelp ? ['inherit', 2, 'inherit'] : 'inherit',
});
if (build.status !== 0) process.exit(build.status ?? 1);
await import('./source-maps.mjs');
await import('../.cache/build/server.mjs').catch(endWithProblem);
