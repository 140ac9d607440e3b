// The account that the demo's commands run as: never root, and with nothing of this process's environment.
import { execFile, spawn } from 'node:child_process';
import { chown, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

export interface DemoAccount {
  name: string;
  /** Missing if this process isn't root; then commands run as its own user. */
  ids?: { uid: number; gid: number };
  /** A folder of its own, which `remove()` deletes. */
  home: string;
  environment: Record<string, string>;
  remove(): Promise<void>;
}

/** Rejects if a command would run as root in spite of all. */
export async function demoAccount(wanted: string): Promise<DemoAccount> {
  const root = process.getuid?.() === 0;
  const name = root ? wanted : userInfo().username;
  const ids = root ? await lookUp(wanted) : undefined;
  const home = await mkdtemp(join(tmpdir(), 'opsconductor-demo-'));
  if (ids) await chown(home, ids.uid, ids.gid);
  const account: DemoAccount = {
    name,
    ...(ids ? { ids } : {}),
    home,
    // Built from scratch, because this process's environment may contain its database URL and its keys.
    environment: {
      PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      HOME: home,
      USER: name,
      LOGNAME: name,
      SHELL: '/bin/sh',
      LANG: 'C.UTF-8',
    },
    remove: () => rm(home, { recursive: true, force: true }),
  };
  try {
    await proveHarmless(account);
  } catch (error) {
    await account.remove();
    throw error;
  }
  return account;
}

async function lookUp(name: string): Promise<{ uid: number; gid: number }> {
  const ask = async (flag: string) => {
    const { stdout } = await promisify(execFile)('id', [flag, name]);
    // macOS prints the -2 of nobody as an unsigned number; spawn needs it signed.
    return Number(stdout.trim()) | 0;
  };
  const ids = { uid: await ask('-u'), gid: await ask('-g') };
  if (ids.uid === 0 || ids.gid === 0) throw new Error(`demo commands can't run as ${name}: that is root`);
  return ids;
}

/** Asks the system itself: what counts is what the child reports, not what was requested. */
async function proveHarmless(account: DemoAccount): Promise<void> {
  const said = await new Promise<string>((resolve, reject) => {
    const child = spawn('/bin/sh', ['-c', 'id -u; id -G'], {
      ...account.ids,
      cwd: account.home,
      env: account.environment,
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    let text = '';
    child.stdout.on('data', (bytes: Buffer) => {
      text += bytes.toString();
    });
    child.once('error', reject);
    child.once('close', () => resolve(text));
  });
  const [uid, ...groups] = said.split(/\s+/).filter((word) => word !== '');
  const rooted = uid === undefined || uid === '0' || (account.ids !== undefined && groups.includes('0'));
  if (rooted) throw new Error('the demo SSH server refuses to start: its commands would run as root');
}
