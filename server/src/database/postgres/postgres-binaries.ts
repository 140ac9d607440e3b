// The binaries come as npm packages, one per platform; each holds only initdb, pg_ctl and postgres.
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmod, cp, lstat, mkdir, readdir, readFile, rename, rm, stat, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join, relative, resolve } from 'node:path';
import { promisify } from 'node:util';
import { EmbeddedPostgresError, isErrno, useDatabaseUrl } from '../embedded-postgres-error.ts';
import { type Account, isRoot } from './postgres-account.ts';

const run = promisify(execFile);

export interface PostgresBinaries {
  initdb: string;
  postgres: string;
  /** As the server reports it, for example "18.4". */
  version: string;
  major: number;
}

/** The environment of postgres and initdb: never ours, which may contain keys. */
export const postgresEnvironment = { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' };

/**
 * Returns the folder of the npm package for this platform.
 *
 * @throws {EmbeddedPostgresError} saying what to do if there is none.
 */
export function findBinaryPackage(platform: string = process.platform, arch: string = process.arch): string {
  const name = `@embedded-postgres/${platform}-${arch}`;
  if (platform === 'win32') {
    throw new EmbeddedPostgresError(
      `The embedded PostgreSQL is supervised with POSIX signals, which Windows lacks. ${useDatabaseUrl}`,
    );
  }
  try {
    return dirname(dirname(createRequire(import.meta.url).resolve(name)));
  } catch {
    throw new EmbeddedPostgresError(
      `There is no embedded PostgreSQL for ${platform} on ${arch}: the optional package ${name} is not installed. ` +
        useDatabaseUrl,
    );
  }
}

/**
 * Returns binaries that the account can run: those in the package, or otherwise a copy in `copyFolder` (the package may
 * be under a home of mode 0700, or be read-only with its links missing).
 */
export async function prepareBinaries(options: {
  packageFolder: string;
  account: Account | undefined;
  copyFolder: string;
  log: (message: string) => void;
}): Promise<PostgresBinaries> {
  const { packageFolder, account, copyFolder, log } = options;
  const linked = await restoreLinks(packageFolder);
  const inPlace = linked ? await probe(join(packageFolder, 'native'), account) : undefined;
  if (inPlace !== undefined && 'version' in inPlace) return inPlace;

  const copy = join(copyFolder, await packageId(packageFolder));
  if (!(await exists(copy))) {
    log(`Copying the PostgreSQL binaries to ${copy}: they can't be run from ${packageFolder}`);
    await copyPackage(packageFolder, copy);
  }
  const copied = await probe(join(copy, 'native'), account);
  if ('version' in copied) return copied;
  throw new EmbeddedPostgresError(
    `The embedded PostgreSQL does not run on this system (it needs glibc and an executable file system): ` +
      `${copied.failure.trim()}. ${useDatabaseUrl}`,
  );
}

async function probe(
  native: string,
  account: Account | undefined,
): Promise<PostgresBinaries | { failure: string }> {
  const postgres = join(native, 'bin', 'postgres');
  try {
    const { stdout } = await run(postgres, ['--version'], { ...account, env: postgresEnvironment, cwd: '/' });
    const version = /(\d+)\.\d+/.exec(stdout);
    if (version === null) return { failure: `"${postgres} --version" printed ${stdout}` };
    return {
      initdb: join(native, 'bin', 'initdb'),
      postgres,
      version: version[0],
      major: Number(version[1]),
    };
  } catch (error) {
    return { failure: error instanceof Error ? error.message : String(error) };
  }
}

/**
 * npm tarballs contain no symlinks. The package lists them, and would restore them in an install script, which we don't
 * run.
 */
async function restoreLinks(packageFolder: string): Promise<boolean> {
  for (const { source, target } of await listLinks(packageFolder)) {
    const path = resolve(packageFolder, target);
    const inside = [path, resolve(packageFolder, source)].every((p) => p.startsWith(`${packageFolder}/`));
    if (!inside) throw new Error(`${packageFolder}: pg-symlinks.json points outside of the package`);
    try {
      await symlink(relative(dirname(path), resolve(packageFolder, source)), path);
    } catch (error) {
      if (isErrno(error, 'EACCES', 'EPERM', 'EROFS')) return false;
      if (!isErrno(error, 'EEXIST')) throw error;
    }
  }
  return true;
}

async function listLinks(packageFolder: string): Promise<{ source: string; target: string }[]> {
  try {
    return JSON.parse(await readFile(join(packageFolder, 'native', 'pg-symlinks.json'), 'utf8'));
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return [];
    throw error;
  }
}

async function packageId(packageFolder: string): Promise<string> {
  const { name, version } = JSON.parse(await readFile(join(packageFolder, 'package.json'), 'utf8'));
  return `${String(name).split('/').pop()}-${version}`;
}

/** A rename publishes the copy, so that a copy that exists is complete. */
async function copyPackage(packageFolder: string, copy: string): Promise<void> {
  await mkdir(dirname(copy), { recursive: true });
  await chmod(dirname(copy), 0o755);
  if (isRoot()) await refuseForeignFolder(dirname(copy));
  const temporary = `${copy}.${randomBytes(6).toString('hex')}.tmp`;
  try {
    await cp(packageFolder, temporary, { recursive: true, verbatimSymlinks: true });
    await openToAll(temporary);
    await restoreLinks(temporary);
    await rename(temporary, copy);
  } catch (error) {
    await rm(temporary, { recursive: true, force: true });
    if (!isErrno(error, 'EEXIST', 'ENOTEMPTY')) throw error;
  }
}

/** Root must not run what another user could have put there. */
async function refuseForeignFolder(path: string): Promise<void> {
  const { uid, mode } = await stat(path);
  if (uid !== 0 || (mode & 0o022) !== 0) {
    throw new EmbeddedPostgresError(`${path} must belong to root and be writable by root only.`);
  }
}

/** An installation made under a strict umask is readable by its owner only. */
async function openToAll(path: string): Promise<void> {
  const { mode } = await lstat(path);
  await chmod(path, (mode & 0o100) === 0 ? 0o644 : 0o755);
  for (const entry of await readdir(path, { withFileTypes: true })) {
    const child = join(path, entry.name);
    if (entry.isDirectory()) await openToAll(child);
    else if (entry.isFile()) await chmod(child, ((await lstat(child)).mode & 0o100) === 0 ? 0o644 : 0o755);
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
