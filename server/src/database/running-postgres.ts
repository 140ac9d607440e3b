// For commands beside a running server: the embedded PostgreSQL that it started.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isRunning } from './cluster-processes.ts';
import type { Credentials } from './credentials.ts';
import { serverUrl } from './server-database.ts';

/** Its URL; undefined where none runs on the data directory. */
export async function runningPostgresUrl(dataDir: string): Promise<string | undefined> {
  const credentials = await readJson<Credentials>(join(dataDir, 'credentials.json'));
  if (credentials?.initialized !== true) return undefined;
  const { home = dataDir } = (await readJson<{ home: string }>(join(dataDir, 'placement.json'))) ?? {};
  const file = await readFile(join(home, 'cluster/postmaster.pid'), 'utf8').catch(() => '');
  const [pid, , , port] = file.split('\n').map(Number);
  if (!pid || !port || !(await isRunning(pid))) return undefined;
  return serverUrl(port, credentials);
}

async function readJson<T>(path: string): Promise<T | undefined> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as T;
  } catch {
    return undefined;
  }
}
