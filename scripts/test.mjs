// npm test: prepares what the suite needs, and runs it. Further arguments go to vitest. The last line summarizes the
// result.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { register } from 'tsx/esm/api';
import { buildAll, buildForTests } from './build.mjs';

const root = resolve(import.meta.dirname, '..');
const startedMs = Date.now();

function say(line) {
  process.stdout.write(`${line}\n`);
}

/** Returns what can't be tested here, with the reason. */
async function prepare() {
  say('Preparing: building the console and the agent, finding what the tests run against');
  await buildAll();
  // Otherwise each worker of the first whole-system tests would build them.
  await buildForTests();
  register();
  const {
    ensureAnsible,
    ensureChromium,
    ensureNetworkTools,
    ensureOtherSshd,
    ensureScriptTools,
    ensureShells,
    ensureSshd,
    ensureStrace,
    ensureSudo,
    ensureWinrmFixture,
  } = await import('../test/support/packages.ts');
  const options = { print: (line) => say(`  ${line}`) };
  const untried = { sshd: undefined, notes: [] };
  const sshd = await ensureSshd(options);
  if ('missing' in sshd) {
    untried.sshd = sshd.missing;
  } else say(`  OpenSSH server: ${sshd.path}`);
  const sudo = await ensureSudo(options);
  if ('missing' in sudo) untried.notes.push(`becoming another user by sudo: ${sudo.missing}`);
  for (const name of ['dropbear', 'tinyssh']) {
    const server = await ensureOtherSshd(name, options);
    if ('missing' in server) untried.notes.push(`targets that run ${name}: ${server.missing}`);
  }
  const chromium = await ensureChromium(options);
  if ('missing' in chromium) untried.notes.push(`the console in a browser: ${chromium.missing}`);
  else say(`  Chromium: ${chromium.path}`);
  // If anything of it is missing, the test that compares with it says so.
  const ansible = await ensureAnsible(options);
  if (!('missing' in ansible)) say(`  Ansible: ${ansible.path}`);
  // As with Ansible, the tests say if they are missing.
  await ensureStrace(options);
  await ensureScriptTools(options);
  for (const [name, shell] of await ensureShells(options)) {
    if ('missing' in shell) untried.notes.push(`scripts in ${name}: ${shell.missing}`);
  }
  const winrm = await ensureWinrmFixture(options);
  if ('missing' in winrm) untried.notes.push(`WinRM: ${winrm.missing}`);
  const networks = await ensureNetworkTools(options);
  if (networks !== undefined) untried.notes.push(`segmented networks: ${networks.missing}`);
  else say('  Network namespaces and nftables: available');
  if (process.getuid?.() !== 0) untried.notes.push('what root does differently: this is a plain user');
  return untried;
}

/** Test files that start a real sshd, directly or through a neighboring module. */
function filesWithSshd() {
  const sources = ['protocol/src', 'server/src', 'agent/src', 'test'].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true })
      .filter((name) => name.endsWith('.ts'))
      .map((name) => join(root, folder, name)),
  );
  const imports = new Map(
    sources.map((file) => [
      file,
      [...readFileSync(file, 'utf8').matchAll(/from '(\.[^']+)'/g)].map(([, path]) =>
        resolve(file, '..', path),
      ),
    ]),
  );
  const needing = new Set([join(root, 'test/support/sshd.ts')]);
  for (let before = 0; before !== needing.size; ) {
    before = needing.size;
    for (const [file, imported] of imports) if (imported.some((path) => needing.has(path))) needing.add(file);
  }
  return [...needing].filter((file) => file.endsWith('.test.ts')).map((file) => relative(root, file));
}

async function runVitest(excluded) {
  const cache = join(root, '.cache');
  mkdirSync(cache, { recursive: true });
  const folder = mkdtempSync(join(cache, 'test-'));
  const summaryFile = join(folder, 'summary.json');
  const child = spawn(
    process.execPath,
    [
      join(root, 'node_modules/vitest/vitest.mjs'),
      'run',
      '--reporter=default',
      `--reporter=${join(root, 'test/support/suite/summary-reporter.ts')}`,
      ...excluded.map((file) => `--exclude=${file}`),
      ...process.argv.slice(2),
    ],
    { cwd: root, stdio: 'inherit', env: { ...process.env, OPSCONDUCTOR_TEST_SUMMARY: summaryFile } },
  );
  // The terminal's Ctrl-C reaches vitest directly, which shuts its processes down before it ends.
  process.on('SIGINT', () => {});
  process.on('SIGTERM', () => child.kill('SIGTERM'));
  const [code] = await once(child, 'exit');
  const summary = readSummary(summaryFile);
  rmSync(folder, { recursive: true, force: true });
  return { code: code ?? 1, summary };
}

function readSummary(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    return undefined;
  }
}

const untried = await prepare();
const excluded = untried.sshd === undefined ? [] : filesWithSshd();
const { code, summary } = await runVitest(excluded);
const notes = [
  ...untried.notes,
  ...excluded.map((file) => `${file}: ${untried.sshd}`),
  ...(summary?.skips ?? []),
];
if (notes.length > 0) say(`Could not be tried here:\n${notes.map((note) => `  ${note}`).join('\n')}`);
say(`Took ${Math.round((Date.now() - startedMs) / 1000)} s.`);
if (summary === undefined) {
  say('The tests ended before they could be counted.');
  process.exit(code === 0 ? 1 : code);
}
const { passed, failed, skipped } = summary;
say(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
process.exit(code === 0 && failed > 0 ? 1 : code);
