// SSH servers other than OpenSSH, for one test: own port, own host key, and a separate user in a private mount
// namespace (see `accountsMissing()` in sshd.ts).
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { freePort } from './free-port.ts';
import { ed25519KeyPair } from './key-pairs.ts';
import { ensureOtherSshd, type OtherSshd } from './packages.ts';
import { overlayEtc, type SshdFixture, writeUserDatabase } from './sshd.ts';

export type OtherSshdFixture = Pick<
  SshdFixture,
  'host' | 'port' | 'user' | 'privateKey' | 'hostKeyLine' | 'log' | 'stop'
>;

const host = '127.0.0.1';
const user = 'opsdeploy';
const uid = 20001;

/** Starts a server and waits until it is listening. Rejects with the reason if there is none. */
export async function startOtherSshd(name: OtherSshd): Promise<OtherSshdFixture> {
  const program = await ensureOtherSshd(name);
  if ('missing' in program) throw new Error(program.missing);
  // TinySSH reads no keys below a directory that others may write to, such as /tmp.
  const dir = mkdtempSync(`/run/opsconductor-${name}-`);
  chmodSync(dir, 0o755);
  const remove = () => rmSync(dir, { recursive: true, force: true });
  process.once('exit', remove);
  writeUserDatabase(dir, { name: user, uid });
  const client = ed25519KeyPair();
  const ssh = join(dir, 'home/.ssh');
  mkdirSync(ssh, { mode: 0o700 });
  writeFileSync(join(ssh, 'authorized_keys'), `${client.public}\n`, { mode: 0o600 });
  for (const path of [ssh, join(ssh, 'authorized_keys')]) chownSync(path, uid, uid);
  const running = await servers[name](program.path, dir);
  return {
    host,
    port: running.port,
    user,
    privateKey: client.private,
    hostKeyLine: running.hostKeyLine,
    log: running.log,
    stop: async () => {
      await running.stop();
      process.off('exit', remove);
      remove();
    },
  };
}

interface Running {
  port: number;
  hostKeyLine: string;
  log(): string;
  stop(): Promise<void>;
}

const servers: Record<OtherSshd, (path: string, dir: string) => Promise<Running>> = {
  dropbear: startDropbear,
  tinyssh: startTinyssh,
};

/**
 * Runs the program with the account's user database. It ends with its parent, because a killed test runs no handler.
 */
function inside(dir: string, command: string[], stdio: ('ignore' | 'pipe' | Socket)[]): ChildProcess {
  const script = `${overlayEtc(join(dir, 'etc'))} && exec "$@"`;
  const args = ['--mount', '--propagation', 'private', '/bin/sh', '-c', script, 'sh', ...command];
  return spawn('setpriv', ['--pdeathsig', 'KILL', 'unshare', ...args], { stdio });
}

async function startDropbear(path: string, dir: string): Promise<Running> {
  const key = join(dir, 'host_key');
  execFileSync('dropbearkey', ['-t', 'ed25519', '-f', key], { stdio: 'pipe' });
  const told = execFileSync('dropbearkey', ['-y', '-f', key], { encoding: 'utf8' });
  const hostKeyLine = told.split('\n').find((line) => line.startsWith('ssh-ed25519 ')) ?? '';
  const port = await freePort(host);
  const command = [path, '-F', '-E', '-m', '-p', `${host}:${port}`, '-r', key, '-P', join(dir, 'pid')];
  const child = inside(dir, command, ['ignore', 'ignore', 'pipe']);
  let log = '';
  await new Promise<void>((resolve, reject) => {
    child.stderr?.on('data', (bytes: Buffer) => {
      log += bytes.toString();
      if (/Not backgrounding/.test(log)) resolve();
    });
    child.once('error', reject);
    child.once('exit', () => reject(new Error(`dropbear ended: ${log}`)));
  });
  return { port, hostKeyLine, log: () => log, stop: () => end([child]) };
}

/** tinysshd serves one connection, on its standard input and output. */
async function startTinyssh(path: string, dir: string): Promise<Running> {
  const keys = join(dir, 'keys');
  execFileSync(`${path}-makekey`, ['-q', keys], { stdio: 'pipe' });
  const told = execFileSync(`${path}-printkey`, [keys], { encoding: 'utf8' });
  const [type = '', blob = ''] = (told.split('\n').find((line) => line.includes('ssh-ed25519 ')) ?? '')
    .slice(told.indexOf('ssh-ed25519 '))
    .split(' ');
  const children = new Set<ChildProcess>();
  let log = '';
  const server = createServer({ pauseOnConnect: true }, (socket) => {
    const child = inside(dir, [path, '-v', keys], [socket, socket, 'pipe']);
    socket.destroy();
    children.add(child);
    child.once('exit', () => children.delete(child));
    child.stderr?.on('data', (bytes: Buffer) => {
      log += bytes.toString();
    });
  });
  server.listen(0, host);
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  const stop = async () => {
    server.close();
    await end([...children]);
  };
  return { port, hostKeyLine: `${type} ${blob.trim()}`, log: () => log, stop };
}

async function end(children: readonly ChildProcess[]): Promise<void> {
  const alive = children.filter(({ exitCode, signalCode }) => exitCode === null && signalCode === null);
  const ended = alive.map((child) => once(child, 'exit'));
  for (const child of alive) child.kill('SIGKILL');
  await Promise.all(ended);
}
