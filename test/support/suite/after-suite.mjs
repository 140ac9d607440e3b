// Outlives the suite that started it, however that ends: a signal or kill -9 leaves the suite no time to end its
// PostgreSQL and what tests were running. Reads standard input, which the suite keeps open, to its end; then ends each
// process that belongs to the suite's folder, and removes the folder.
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

const [folder] = process.argv.slice(2);
// Otherwise every process that names a path would count as belonging to it.
if (!folder?.startsWith('/') || folder.length < 2) throw new Error('after-suite.mjs FOLDER');
const pollMs = 100;
/** PostgreSQL that is told to stop immediately, and frees its shared memory, takes less than this. */
const patienceMs = 10_000;

for await (const _ of process.stdin);
const untilMs = Date.now() + patienceMs;
for (let left = ownProcesses(); left.length > 0; left = ownProcesses()) {
  for (const { pid, isPostgres } of left)
    end(pid, isPostgres && Date.now() < untilMs ? 'SIGQUIT' : 'SIGKILL');
  await delay(pollMs);
}
rmSync(folder, { recursive: true, force: true, maxRetries: 5 });

/** Processes that name something in the folder, or were given it for their temporary files. */
function ownProcesses() {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .flatMap((name) => {
      const command = read(name, 'cmdline');
      const isOwn = `${command}\0${read(name, 'environ')}`.includes(`${folder}/`) && !isDead(name);
      return isOwn ? [{ pid: Number(name), isPostgres: /^[^\0]*\bpostgres\b/.test(command) }] : [];
    });
}

function isDead(pid) {
  return /^\d+ \(.*\) [ZX]/s.test(read(pid, 'stat'));
}

function read(pid, file) {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    return '';
  }
}

function end(pid, signal) {
  try {
    process.kill(pid, signal);
  } catch {
    // It ended by itself in the meantime.
  }
}
