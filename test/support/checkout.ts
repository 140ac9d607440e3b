// A copy of the sources in its own folder, like a clone after `npm ci`. Nothing is built in it unless requested, except
// the console, which takes longer than everything else.
import { spawnSync } from 'node:child_process';
import { existsSync, lstatSync } from 'node:fs';
import { chmod, chown, cp, mkdir, mkdtemp, readdir, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { canTraverse } from '../../server/src/database/postgres/postgres-account.ts';

export interface Account {
  uid: number;
  gid: number;
}

export interface Checkout {
  /** The copy of the repository. */
  readonly folder: string;
  /** A folder next to it for data, owned by the same account. */
  readonly home: string;
  remove(): Promise<void>;
}

const repository = resolve(import.meta.dirname, '../..');
const sources = ['protocol', 'server', 'agent', 'ui', 'migrations', 'scripts'];
const files = ['package.json', 'package-lock.json', 'tsconfig.json', '.npmrc'];
const consoleBuild = ['ui/dist', '.cache/build/console.sha256'];
const built: ReadonlySet<string> = new Set(['node_modules', 'dist', '.cache']);

export interface CheckoutOptions {
  /** Owner of the copy; by default this process's user. */
  account?: Account | undefined;
  /** Includes the agent and the server as built here. */
  isBuilt?: boolean;
}

export async function makeCheckout({ account, isBuilt = false }: CheckoutOptions = {}): Promise<Checkout> {
  const base = await mkdtemp(join(tmpdir(), 'opsconductor-checkout-'));
  // Run by root, PostgreSQL uses another account, and would otherwise be placed outside.
  await chmod(base, 0o755);
  const folder = join(base, 'repository');
  const home = join(base, 'home');
  await mkdir(folder);
  await mkdir(home);
  for (const name of [...sources, ...files]) {
    await cp(join(repository, name), join(folder, name), {
      recursive: true,
      filter: (path) => !built.has(basename(path)),
    });
  }
  await takeBuilds(folder, isBuilt ? ['ui/dist', '.cache/build'] : consoleBuild);
  await linkPackages(folder, account);
  if (account !== undefined) {
    await chown(base, account.uid, account.gid);
    spawnSync('chown', ['-R', '--no-dereference', `${account.uid}:${account.gid}`, base]);
  }
  return { folder, home, remove: () => rm(base, { recursive: true, force: true }) };
}

/** Builds that don't match these sources are built again there. */
async function takeBuilds(folder: string, paths: readonly string[]): Promise<void> {
  for (const path of paths) {
    if (existsSync(join(repository, path)))
      await cp(join(repository, path), join(folder, path), { recursive: true });
  }
}

/** Links the installed packages, or copies them if the account can't reach them; workspaces are the copy's own. */
async function linkPackages(folder: string, account: Account | undefined): Promise<void> {
  const installed = join(repository, 'node_modules');
  const place = join(folder, 'node_modules');
  if (account !== undefined && !(await canTraverse(installed, account))) {
    spawnSync('cp', ['-a', installed, place]);
    return;
  }
  await mkdir(place);
  // Hidden entries are caches, except for the programs.
  const isPackage = (name: string) => !name.startsWith('.') || name === '.bin';
  for (const name of (await readdir(installed)).filter(isPackage)) {
    if (!name.startsWith('@')) {
      await symlink(join(installed, name), join(place, name));
      continue;
    }
    await mkdir(join(place, name));
    for (const entry of await readdir(join(installed, name))) {
      const path = join(installed, name, entry);
      const target = lstatSync(path).isSymbolicLink() ? join('../..', entry) : path;
      await symlink(target, join(place, name, entry));
    }
  }
}
