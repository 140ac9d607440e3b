// A real OpenSSH server for one test file, with its own port, host keys and configuration. Run by root, it can give the
// server a separate user database in a private mount namespace, so that passwords, login shells and ordinary users can
// be tested without changing the machine.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  appendFileSync,
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import ssh2 from 'ssh2';
import { freePort } from './free-port.ts';
import { ed25519KeyPair } from './key-pairs.ts';
import { ensureSshd, type Program } from './packages.ts';

export type HostKeyType = 'ed25519' | 'ecdsa' | 'rsa';

/** A user that exists only for this server. Needs root and mount namespaces: see `accountsMissing()`. */
export interface FixtureAccount {
  name: string;
  /** Default: 20001. */
  uid?: number;
  /** Default: /bin/sh. */
  shell?: string;
  /** The boot id that the server's sessions see, until `boots` changes it. */
  bootId?: string;
  /** Lines of the server's own sudoers file. With them there is a second user, `opsother`, with the same password. */
  sudoers?: string[];
  /** Paths of programs that don't exist for the server and its sessions. */
  without?: string[];
  /** The program that /bin/sh is for the server and its sessions; by default, the machine's. */
  sh?: string;
}

export interface SshdOptions {
  /** Default: 127.0.0.1. */
  address?: string;
  /** Default: a free port. */
  port?: number;
  /** A named network namespace to run in; address and port then refer to it, and both must be given. */
  networkNamespace?: string;
  /** Default: one Ed25519 key. */
  hostKeys?: HostKeyType[];
  account?: FixtureAccount;
  /**
   * Without an account: sessions start in the home of the user who runs this, but see a HOME in the fixture's folder.
   */
  ownHome?: boolean;
  /** How the user may log in; default: public key. `keyboard` asks for the password through PAM. */
  login?: ('key' | 'password' | 'keyboard')[];
  /** Additional lines for sshd_config, before ours: the first setting of a keyword wins. */
  config?: string[];
}

export interface SshdFixture {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  /** A key that may log in, in OpenSSH format. */
  readonly privateKey: string;
  /** The first host key as a public key line, and all of them. */
  readonly hostKeyLine: string;
  readonly hostKeyLines: string[];
  /** A folder of the fixture that the user may read and enter. */
  readonly dir: string;
  log(): string;
  /** Pids of the processes that serve the open connections. */
  sessionPids(): number[];
  /** Freezes the server and its connections with SIGSTOP, and returns their pids; `stop()` still ends them. */
  suspend(): number[];
  /** Ends every open connection with SIGKILL; the server keeps listening. */
  killSessions(): void;
  /** Ends server and connections with SIGKILL, and waits until they are gone. */
  stop(): Promise<void>;
  /** For an account with a boot id: pretends that the machine was started this long ago, with this boot id. */
  boots(id: string, upSeconds: number): void;
  /** Listens again on the same port with the same keys, after `stop()`. */
  restart(): Promise<void>;
}

/** The password of every fixture account. */
export const fixturePassword = 'correct horse battery staple';
const otherAccount = 'opsother';
// Its hash in crypt(3) format, SHA-512.
const fixturePasswordHash =
  '$6$opsconductor$3LbdlB1zR1giaaENEfvXlwyY8CZbhzUEwl8QeQozJXkrzSLW0QBWzyuuyCHA7EBRaIZMjGvk5jMPnOdr.5QcW/';

/** Returns the fingerprint of a host key from its public key line, as `ssh-keygen -l` shows it: `SHA256:…`. */
export function hostKeyFingerprintOf(line: string): string {
  const blob = Buffer.from(line.split(' ')[1] ?? '', 'base64');
  return `SHA256:${createHash('sha256').update(blob).digest('base64').replace(/=+$/, '')}`;
}

/** Returns why accounts are unavailable here, or `undefined` if they are available. */
export function accountsMissing(): string | undefined {
  if (process.getuid?.() !== 0) return 'fixture accounts need root';
  accountsPossible ??= spawnSync('unshare', ['--mount', '/bin/sh', '-c', overlayEtc('/usr')]).status === 0;
  return accountsPossible
    ? undefined
    : 'fixture accounts need mount namespaces and overlayfs (CAP_SYS_ADMIN)';
}
let accountsPossible: boolean | undefined;

/** A separate user of the server if possible; in any case a separate home, `home` in the fixture's folder. */
export function ownUser(account: FixtureAccount): Pick<SshdOptions, 'account' | 'ownHome'> {
  return accountsMissing() === undefined ? { account } : { ownHome: true };
}

/** Mounts a folder over /etc. Not file by file, because a file that somebody replaces loses its mount. */
export function overlayEtc(dir: string): string {
  return `mount -t overlay overlay -o lowerdir=${dir}:/etc /etc`;
}

/** Mounts files over what the kernel reports about its boot, if there are any. */
function bindBoot(dir: string): string {
  const bind = (file: string, over: string) =>
    `{ [ ! -e ${dir}/${file} ] || mount --bind ${dir}/${file} ${over}; }`;
  return `${bind('boot_id', '/proc/sys/kernel/random/boot_id')} && ${bind('uptime', '/proc/uptime')}`;
}

/** Written in place, because a mount refers to the file, not to its name. */
function writeBoot(dir: string, id: string, upSeconds: number): void {
  writeFileSync(join(dir, 'boot_id'), `${id}\n`);
  writeFileSync(join(dir, 'uptime'), `${upSeconds}.00 0.00\n`);
}

/** Starts a server and waits until it is listening. Rejects with the reason if there is no sshd. */
export async function startSshd(options: SshdOptions = {}): Promise<SshdFixture> {
  const program = await ensureSshd();
  if ('missing' in program) throw new Error(program.missing);
  const host = options.address ?? '127.0.0.1';
  const port = options.port ?? (await freePort(host));
  const dir = mkdtempSync(join(tmpdir(), 'opsconductor-sshd-'));
  chmodSync(dir, 0o755);
  const hostKeyLines = (options.hostKeys ?? ['ed25519']).map((type) => writeHostKey(dir, type));
  const client = ed25519KeyPair();
  writeFileSync(join(dir, 'authorized_keys'), `${client.public}\n`, { mode: 0o644 });
  writeFileSync(join(dir, 'sshd_config'), configuration(dir, host, port, program, options));
  if (options.account) writeUserDatabase(dir, options.account);
  if (options.ownHome === true) mkdirSync(join(dir, 'home'));
  if (options.account?.bootId !== undefined) writeBoot(dir, options.account.bootId, 100_000);
  const server = new Server(dir, program, options);
  await server.start();
  return {
    host,
    port,
    user: options.account?.name ?? userInfo().username,
    privateKey: client.private,
    hostKeyLine: hostKeyLines[0] as string,
    hostKeyLines,
    dir,
    log: () => server.log,
    sessionPids: () => server.sessionPids(),
    suspend: () => server.suspend(),
    killSessions: () => {
      for (const pid of server.suspendSessions()) kill(pid);
    },
    stop: () => server.stop(),
    boots: (id, upSeconds) => writeBoot(dir, id, upSeconds),
    restart: () => server.start(),
  };
}

const setpriv = '/usr/bin/setpriv';
const running = new Set<Server>();
process.once('exit', () => {
  for (const server of running) server.end();
});

class Server {
  log = '';
  #child: ChildProcess | undefined;
  readonly #dir: string;
  readonly #program: Program;
  readonly #ownUsers: boolean;
  readonly #networkNamespace: string | undefined;
  /** Files to mount over others: [file, over]. */
  readonly #mounts: readonly [string, string][];

  constructor(
    dir: string,
    program: Program,
    { account, networkNamespace }: Pick<SshdOptions, 'account' | 'networkNamespace'>,
  ) {
    this.#networkNamespace = networkNamespace;
    this.#dir = dir;
    this.#program = program;
    this.#ownUsers = account !== undefined;
    const hidden = (account?.without ?? []).map((program): [string, string] => ['/dev/null', program]);
    const sh = account?.sh;
    this.#mounts = sh === undefined ? hidden : [...hidden, [realpathSync(sh), realpathSync('/bin/sh')]];
    running.add(this);
  }

  /** What can be done while the process exits, that is, without waiting. */
  end(): void {
    for (const pid of this.#pids()) kill(pid);
    rmSync(this.#dir, { recursive: true, force: true });
  }

  start(): Promise<void> {
    const inside =
      this.#networkNamespace === undefined ? [] : ['ip', 'netns', 'exec', this.#networkNamespace];
    const command = [...inside, this.#program.path, '-D', '-e', '-f', join(this.#dir, 'sshd_config')];
    // The namespace is private, so only this server and its sessions see the mount.
    const mounts = this.#mounts.map(([file, over]) => `mount --bind ${file} ${over} && `).join('');
    const script = `${overlayEtc(join(this.#dir, 'etc'))} && ${bindBoot(this.#dir)} && ${mounts}exec "$@"`;
    const argv = this.#ownUsers
      ? ['unshare', '--mount', '--propagation', 'private', '/bin/sh', '-c', script, 'sh', ...command]
      : command;
    this.log = '';
    if (process.getuid?.() === 0) mkdirSync('/run/sshd', { recursive: true, mode: 0o755 });
    // A killed test worker runs no exit handler; the kernel then ends the server with its parent.
    const [file = '', ...args] = existsSync(setpriv) ? [setpriv, '--pdeathsig', 'KILL', ...argv] : argv;
    const child = spawn(file, args, {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, ...this.#program.env },
    });
    this.#child = child;
    return new Promise((resolve, reject) => {
      child.stderr?.on('data', (bytes: Buffer) => {
        this.log += bytes.toString();
        if (this.log.includes('Server listening on')) resolve();
      });
      child.on('error', reject);
      child.on('exit', () => reject(new Error(`sshd ended: ${this.log}`)));
    });
  }

  /** Each connection is served by two processes, either of which may hold the socket. */
  sessionPids(): number[] {
    return this.#pids()
      .slice(1)
      .filter((pid) => readProcess(pid, 'comm').startsWith('sshd'));
  }

  suspend(): number[] {
    const server = this.#pids().slice(0, 1);
    for (const pid of server) kill(pid, 'SIGSTOP');
    return [...server, ...this.suspendSessions()];
  }

  /**
   * A session forks right after it has let its user in. The process that it forks while it is being looked for would be
   * left, with the connection.
   */
  suspendSessions(): number[] {
    const found = new Set<number>();
    const isStopped = (pid: number) => /^State:\s+[TXZ]/m.test(readProcess(pid, 'status'));
    for (;;) {
      const pids = this.sessionPids();
      const more = pids.filter((pid) => !found.has(pid));
      if (more.length === 0 && pids.every(isStopped)) return [...found];
      for (const pid of more) {
        found.add(pid);
        kill(pid, 'SIGSTOP');
      }
    }
  }

  /** The server and all its descendants: sessions, and the commands they run. */
  #pids(): number[] {
    const found: number[] = [];
    const child = this.#child;
    const alive = child?.pid !== undefined && child.exitCode === null && child.signalCode === null;
    const queue = alive ? [child.pid] : [];
    for (let pid = queue.shift(); pid !== undefined; pid = queue.shift()) {
      found.push(pid);
      queue.push(...childrenOf(pid));
    }
    return found;
  }

  async stop(): Promise<void> {
    const pids = this.#pids();
    const child = this.#child;
    this.#child = undefined;
    if (!child || pids.length === 0) return;
    const ended = new Promise((resolve) => child.once('close', resolve));
    for (const pid of pids) kill(pid);
    await ended;
  }
}

function configuration(
  dir: string,
  host: string,
  port: number,
  program: Program,
  options: SshdOptions,
): string {
  const login = options.login ?? ['key'];
  const yes = (method: 'key' | 'password' | 'keyboard') => (login.includes(method) ? 'yes' : 'no');
  const libexec = `${program.root === '/' ? '' : program.root}/usr/lib/openssh`;
  // OpenSSH 9.8 was split into programs whose compiled-in paths are the installed ones, and it penalizes addresses for
  // what tests do on purpose.
  const split = existsSync(`${libexec}/sshd-session`);
  const unpacked = split && program.root !== '/';
  return [
    ...(options.config ?? []),
    `ListenAddress ${host}`,
    `Port ${port}`,
    ...(options.hostKeys ?? ['ed25519']).map((type) => `HostKey ${dir}/host_${type}`),
    `AuthorizedKeysFile ${dir}/authorized_keys`,
    `PidFile none`,
    `StrictModes no`,
    `UsePAM ${options.account ? yes('keyboard') : 'no'}`,
    `PubkeyAuthentication ${yes('key')}`,
    `PasswordAuthentication ${yes('password')}`,
    `KbdInteractiveAuthentication ${yes('keyboard')}`,
    'PermitRootLogin yes',
    'MaxStartups 100:30:200',
    // Over ssh, bash reads ~/.bashrc only at its first level; nobody's own file should be part of a test.
    `SetEnv SHLVL=1${options.ownHome === true ? ` HOME=${dir}/home` : ''}`,
    'PrintMotd no',
    'UseDNS no',
    'LogLevel VERBOSE',
    `Subsystem sftp ${libexec}/sftp-server`,
    ...(split ? ['PerSourcePenalties no'] : []),
    ...(unpacked ? [`SshdSessionPath ${libexec}/sshd-session`] : []),
    ...(unpacked && existsSync(`${libexec}/sshd-auth`) ? [`SshdAuthPath ${libexec}/sshd-auth`] : []),
    '',
  ].join('\n');
}

function writeHostKey(dir: string, type: HostKeyType): string {
  const pair =
    type === 'ed25519'
      ? ed25519KeyPair()
      : ssh2.utils.generateKeyPairSync(type, { bits: type === 'rsa' ? 2048 : 256 });
  writeFileSync(join(dir, `host_${type}`), pair.private, { mode: 0o600 });
  return pair.public.trim();
}

/** Adds the account to a copy of the machine's user database, below `dir`/etc. */
export function writeUserDatabase(dir: string, account: FixtureAccount): void {
  const uid = account.uid ?? 20001;
  const home = join(dir, 'home');
  mkdirSync(home);
  chownSync(home, uid, uid);
  mkdirSync(join(dir, 'etc/pam.d'), { recursive: true });
  const read = (file: string) => readFileSync(join('/etc', file), 'utf8').trimEnd();
  for (const file of ['passwd', 'group', 'shadow']) writeFileSync(join(dir, 'etc', file), `${read(file)}\n`);
  const add = (file: string, line: string) => appendFileSync(join(dir, 'etc', file), `${line}\n`);
  add('passwd', `${account.name}:x:${uid}:${uid}::${home}:${account.shell ?? '/bin/sh'}`);
  add('group', `${account.name}:x:${uid}:`);
  add('shadow', `${account.name}:${fixturePasswordHash}:19000:0:99999:7:::`);
  if (account.sudoers !== undefined) {
    const other = join(dir, 'other');
    mkdirSync(other);
    // Processes that become root on this server must not use the machine's own /root.
    mkdirSync(join(dir, 'root'), { mode: 0o700 });
    const passwd = join(dir, 'etc/passwd');
    const withRoot = readFileSync(passwd, 'utf8').replace(/^(root:(?:[^:]*:){4})[^:]*/m, `$1${dir}/root`);
    writeFileSync(passwd, withRoot);
    chownSync(other, uid + 1, uid + 1);
    add('passwd', `${otherAccount}:x:${uid + 1}:${uid + 1}::${other}:/bin/sh`);
    add('group', `${otherAccount}:x:${uid + 1}:`);
    add('shadow', `${otherAccount}:${fixturePasswordHash}:19000:0:99999:7:::`);
    writeFileSync(join(dir, 'etc/sudoers'), `${account.sudoers.join('\n')}\n`, { mode: 0o440 });
    const plain =
      'auth required pam_unix.so nodelay\naccount required pam_permit.so\nsession required pam_permit.so\n';
    for (const service of ['sudo', 'su']) writeFileSync(join(dir, 'etc/pam.d', service), plain);
  }
  chmodSync(join(dir, 'etc/shadow'), 0o640);
  writeFileSync(
    join(dir, 'etc/pam.d/sshd'),
    'auth required pam_unix.so\naccount required pam_permit.so\nsession required pam_permit.so\n',
  );
}

function childrenOf(parent: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => parentOf(pid) === parent);
}

function parentOf(pid: number): number {
  const stat = readProcess(pid, 'stat');
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
}

function readProcess(pid: number, file: 'stat' | 'status' | 'comm'): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    // It has ended in the meantime.
    return '';
  }
}

function kill(pid: number, signal: 'SIGKILL' | 'SIGSTOP' = 'SIGKILL'): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
