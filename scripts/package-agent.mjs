// npm run package:agent: makes an executable of the agent that contains its own Node.js, for machines without it.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join, resolve } from 'node:path';
import { argumentsOrUsage } from './arguments-or-usage.mjs';
import { buildAgentForExecutable } from './build.mjs';

const root = resolve(import.meta.dirname, '..');
/** Node.js looks for this mark in itself, and a program that was put into it turns its last digit from 0 to 1. */
const fuse = 'NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2';
const oldest = [20, 19];
const official = 'Name one from nodejs.org with --node.';

const usage = `npm run package:agent [-- --node FILE] [--out FILE]

Makes an executable of the agent that contains its own Node.js, and beside it a file with its SHA-256.

  --node FILE  the program of Node.js to put the agent into; it must run on this machine
               (default: the one that runs this script)
  --out FILE   the executable (default: dist/opsconductor-agent-<platform>-<processor>)
`;

const { values } = argumentsOrUsage(usage, {
  options: { node: { type: 'string' }, out: { type: 'string' } },
});

/** What the user can mend; its message says how. */
class UsageError extends Error {}

/**
 * @param {string} message
 * @returns {never}
 */
function fail(message) {
  throw new UsageError(message);
}

/** @param {string} json */
function parse(json) {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}

/** @param {string} program */
function examine(program) {
  const question =
    'JSON.stringify({version:process.versions.node,platform:process.platform,arch:process.arch,shared:process.config.variables.node_shared})';
  const { error, stdout, stderr } = spawnSync(program, ['-p', question], { encoding: 'utf8' });
  if (error !== undefined)
    fail(`${program} can't be run: ${error.message}. It must be the program of Node.js itself.`);
  const { version, platform, arch, shared } = parse(stdout) ?? {};
  if (typeof version !== 'string') {
    const said = (stderr || stdout).trim().slice(0, 200);
    fail(`${program} is no Node.js${said === '' ? '' : `: ${said}`}. ${official}`);
  }
  const [major, minor] = version.split('.').map(Number);
  if (major < oldest[0] || (major === oldest[0] && minor < oldest[1]))
    fail(`${program} is Node.js ${version}; the agent needs ${oldest.join('.')} or newer. ${official}`);
  if (platform !== 'linux')
    fail(
      `${program} is for ${platform}. Executables of the agent are made for Linux only; elsewhere, run agent.mjs.`,
    );
  if (shared === true || !readFileSync(program).includes(fuse))
    fail(
      `${program} was built without single executable applications, as some distributions do. ${official}`,
    );
  return { version, platform, arch };
}

/**
 * @param {string} program
 * @param {string[]} args
 */
function run(program, args) {
  const { error, stdout, stderr, status, signal } = spawnSync(program, args, { encoding: 'utf8' });
  if (error !== undefined || status !== 0)
    fail(
      `${basename(program)} ${basename(args[0] ?? '')} failed: ${error?.message ?? signal ?? ''}${stderr}${stdout}`,
    );
  return stdout.trim();
}

async function packageAgent() {
  const node = resolve(values.node ?? process.execPath);
  const { version, platform, arch } = examine(node);
  const out = resolve(values.out ?? join(root, `dist/opsconductor-agent-${platform}-${arch}`));
  mkdirSync(dirname(out), { recursive: true });
  const folder = mkdtempSync(join(dirname(out), '.package-agent-'));
  const startedMs = Date.now();
  process.stdout.write(`Putting the agent into Node.js ${version} (${node}) … `);
  try {
    const unfinished = await putInto(node, folder);
    const agentVersion = run(unfinished, ['--version']);
    const sha256 = createHash('sha256').update(readFileSync(unfinished)).digest('hex');
    // As sha256sum -c reads it.
    writeFileSync(join(folder, 'sha256'), `${sha256}  ${basename(out)}\n`);
    renameSync(unfinished, out);
    renameSync(join(folder, 'sha256'), `${out}.sha256`);
    const seconds = ((Date.now() - startedMs) / 1000).toFixed(1);
    const megabytes = (statSync(out).size / 1e6).toFixed(0);
    process.stdout.write(
      `done in ${seconds} s\nAgent ${agentVersion}: ${out} (${megabytes} MB)\nSHA-256 ${sha256}\n`,
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * Returns the path of a copy of `node` in `folder` that runs the agent.
 *
 * @param {string} node
 * @param {string} folder
 */
async function putInto(node, folder) {
  const blob = join(folder, 'agent.blob');
  const config = join(folder, 'sea.json');
  const main = await buildAgentForExecutable(join(folder, 'agent.cjs'));
  writeFileSync(config, JSON.stringify({ main, output: blob, disableExperimentalSEAWarning: true }));
  // By the Node.js that it goes into: another version may write it differently.
  run(node, ['--experimental-sea-config', config]);
  const copy = join(folder, 'agent');
  copyFileSync(node, copy);
  chmodSync(copy, 0o755);
  const postject = createRequire(import.meta.url).resolve('postject/dist/cli.js');
  run(process.execPath, [postject, copy, 'NODE_SEA_BLOB', blob, '--sentinel-fuse', fuse]);
  return copy;
}

await packageAgent().catch((error) => {
  // A file that can't be read or written is no fault of this script either.
  if (!(error instanceof UsageError) && error.syscall === undefined) throw error;
  process.stderr.write(`error: ${error.message}\n`);
  process.exitCode = 1;
});
