// Finds the embedded PostgreSQL of a running server, for commands that run beside it.
import { readFile, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import type { ClusterPasswords } from './cluster-passwords.ts';
import { clusterAt, listClusterProcesses } from './postgres/cluster-processes.ts';
import { serverUrl } from './server-database.ts';

/** Returns its URL, or `undefined` if none is running on the data directory. */
export async function runningPostgresUrl(dataDir: string): Promise<string | undefined> {
  const passwords = await readJson<ClusterPasswords>(join(dataDir, 'credentials.json'));
  if (passwords?.initialized !== true) return undefined;
  const { home = await realpath(dataDir) } =
    (await readJson<{ home: string }>(join(dataDir, 'placement.json'))) ?? {};
  const cluster = join(home, 'cluster');
  const file = await readFile(join(cluster, 'postmaster.pid'), 'utf8').catch(() => '');
  const [pid, , , port] = file.split('\n').map(Number);
  if (!pid || !port) return undefined;
  // After a power loss the file is still there, and the process id may belong to any process.
  if (!(await listClusterProcesses(clusterAt(cluster))).includes(pid)) return undefined;
  return serverUrl(port, passwords);
}

async function readJson<T>(path: string): Promise<T | undefined> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as T;
  } catch {
    return undefined;
  }
}
