import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { build } from 'esbuild';
import postgres from 'postgres';
import { onTestFinished } from 'vitest';
import {
  type EmbeddedPostgres,
  type EmbeddedPostgresOptions,
  startEmbeddedPostgres,
} from '../embedded-postgres.ts';
import { clusterAt, listClusterProcesses, signal, waitUntilGone } from '../postgres/cluster-processes.ts';
import { findBinaryPackage } from '../postgres/postgres-binaries.ts';
import { copyBegunData } from './begun-data.ts';

const run = promisify(execFile);

export interface ServerProcess {
  child: ChildProcess;
  url: string;
  adopted: boolean;
  /** Process id of the postmaster. */
  pid: number;
  kill(signal: NodeJS.Signals): Promise<void>;
}

/**
 * Makes a folder that any account may pass through. It is removed after the test, together with every postgres on a
 * cluster in it. With `begun`, the data directory has been through its first start.
 */
export async function setup({ begun = false } = {}) {
  const folder = await mkdtemp(join(tmpdir(), 'embedded-postgres-'));
  await chmod(folder, 0o755);
  const dataDir = join(folder, 'data');
  if (begun) await copyBegunData(dataDir);
  const messages: string[] = [];
  onTestFinished(async () => {
    for (const directory of await clustersOf(dataDir)) {
      const pids = await listClusterProcesses(clusterAt(directory)).catch(() => []);
      for (const pid of pids) signal(pid, 'SIGKILL');
      await waitUntilGone(pids, 10_000);
    }
    await rm(folder, { recursive: true, force: true, maxRetries: 10 });
  });

  async function start(options: Partial<EmbeddedPostgresOptions> = {}): Promise<EmbeddedPostgres> {
    const log = (message: string) => void messages.push(message);
    const database = await startEmbeddedPostgres({
      dataDir,
      log,
      systemFolder: join(folder, 'system'),
      ...options,
    });
    onTestFinished(() => database.stop());
    return database;
  }

  function connect(url: string): postgres.Sql {
    const sql = postgres(url, { max: 2, onnotice: () => {}, backoff: () => 0.02 });
    onTestFinished(() => sql.end({ timeout: 0 }));
    return sql;
  }

  return { folder, dataDir, messages, start, connect };
}

async function clustersOf(dataDir: string): Promise<string[]> {
  const pointer = await readFile(join(dataDir, 'placement.json'), 'utf8').catch(() => undefined);
  const home = pointer === undefined ? dataDir : JSON.parse(pointer).home;
  return [join(home, 'cluster')];
}

let bundled: Promise<string> | undefined;

/** Starts another server process, optionally as another user. */
export async function startServerProcess(
  options: Omit<Partial<EmbeddedPostgresOptions>, 'log'>,
  account: { uid?: number; gid?: number } = {},
): Promise<ServerProcess> {
  bundled ??= bundleServerProcess();
  const asked = JSON.stringify({ packageFolder: findBinaryPackage(), ...options });
  const child = spawn(process.execPath, [await bundled, asked], {
    ...account,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let errors = '';
  child.stderr?.on('data', (data) => {
    errors += data;
  });
  const exited = once(child, 'exit');
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await exited;
  });
  const line = await Promise.race([
    once(createInterface(child.stdout), 'line'),
    exited.then(() => Promise.reject(new Error(`The server process ended: ${errors}`))),
  ]);
  const kill = async (name: NodeJS.Signals) => {
    child.kill(name);
    await exited;
  };
  return { child, kill, ...JSON.parse(line[0]) };
}

/**
 * Bundles the server process into one file, for a user who can't read the repository. Without a TypeScript compiler in
 * it, the process also starts in a quarter of the time.
 */
async function bundleServerProcess(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'server-process-'));
  const outfile = join(folder, 'server-process.mjs');
  await build({
    entryPoints: [fileURLToPath(new URL('server-process.ts', import.meta.url))],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
  });
  await chmod(folder, 0o755);
  await chmod(outfile, 0o644);
  return outfile;
}

/** Copies the package as npm unpacks it if install scripts are off: without its symlinks. */
export async function copyPackageWithoutLinks(from: string, to: string): Promise<string> {
  // In one process: copying file by file from here takes ten times as long.
  await run('cp', ['-a', from, to]);
  const links: { target: string }[] = JSON.parse(
    await readFile(join(to, 'native', 'pg-symlinks.json'), 'utf8'),
  );
  for (const { target } of links) await rm(join(to, target), { force: true });
  return to;
}
