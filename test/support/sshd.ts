// A real OpenSSH server for one test file: own port, own host keys, own configuration. Run by root it can give
// the server a user database of its own inside a private mount namespace, so that passwords, login shells and
// plain users can be tried without changing the machine.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
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

/** A user that exists for this server only. Needs root and mount namespaces: see `accountsMissing()`. */
export interface FixtureAccount {
  name: string;
  /** 20001 unless told. */
  uid?: number;
  /** /bin/sh unless told. */
  shell?: string;
  /** The server's sessions are told this boot id, until `boots` changes it. */
  bootId?: string;
  /** Lines of the server's own sudoers file; with them there is a second user, `opsother`, with the same password. */
  sudoers?: string[];
  /** Paths of programs that the server and its sessions do not have. */
  without?: string[];
}

export interface SshdOptions {
  /** 127.0.0.1 unless told. */
  address?: string;
  /** Free unless told. */
  port?: number;
  /** A named network namespace to run in; address and port are of that one, and both must be given then. */
  networkNamespace?: string;
  /** One Ed25519 key unless told. */
  hostKeys?: HostKeyType[];
  account?: FixtureAccount;
  /** Without an account: sessions begin in the home of who runs this, and are told one in the fixture's folder. */
  ownHome?: boolean;
  /** How the user may log in; public key unless told. `keyboard` asks for the password through PAM. */
  login?: ('key' | 'password' | 'keyboard')[];
  /** Further lines for sshd_config, ahead of ours: the first setting of a keyword wins. */
  config?: string[];
}

export interface SshdFixture {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  /** OpenSSH text of a key that may log in. */
  readonly privateKey: string;
  /** The first host key as a public key line, and all of them. */
  readonly hostKeyLine: string;
  readonly hostKeyLines: string[];
  /** A folder of the fixture that the user may read and enter. */
  readonly dir: string;
  log(): string;
  /** Pids of the processes that serve the open connections. */
  sessionPids(): number[];
  /** Freezes the server and its connections with SIGSTOP, and tells which processes; `stop()` still ends them. */
  suspend(): number[];
  /** Ends every open connection with SIGKILL; the server goes on listening. */
  killSessions(): void;
  /** Ends server and connections with SIGKILL, and waits until they are gone. */
  stop(): Promise<void>;
  /** Of an account with a boot id: from now on the machine was started so long ago, as this boot. */
  boots(id: string, upSeconds: number): void;
  /** Listens again on the same port, with the same keys, after `stop()`. */
  restart(): Promise<void>;
}

/** The password of every fixture account. */
export const fixturePassword = 'correct horse battery staple';
// crypt(3) of it, SHA-512.
const otherAccount = 'opsother';
const fixturePasswordHash =
  '$6$opsconductor$3LbdlB1zR1giaaENEfvXlwyY8CZbhzUEwl8QeQozJXkrzSLW0QBWzyuuyCHA7EBRaIZMjGvk5jMPnOdr.5QcW/';

/** Why accounts can't be had here, or undefined where they can. */
export function accountsMissing(): string | undefined {
  if (process.getuid?.() !== 0) return 'fixture accounts need root';
  accountsPossible ??= spawnSync('unshare', ['--mount', '/bin/sh', '-c', overlayEtc('/usr')]).status === 0;
  return accountsPossible
    ? undefined
    : 'fixture accounts need mount namespaces and overlayfs (CAP_SYS_ADMIN)';
}
let accountsPossible: boolean | undefined;

/** A user of the server's own where that can be had; in any case a home of its own, `home` in the fixture's folder. */
export function ownUser(account: FixtureAccount): Pick<SshdOptions, 'account' | 'ownHome'> {
  return accountsMissing() === undefined ? { account } : { ownHome: true };
}

/** Lays a folder over /etc. Not file by file: a file that somebody replaces loses what is mounted on it. */
export function overlayEtc(dir: string): string {
  return `mount -t overlay overlay -o lowerdir=${dir}:/etc /etc`;
}

/** Lays files over what the kernel tells of its start, where there are any. */
function bindBoot(dir: string): string {
  const bind = (file: string, over: string) =>
    `{ [ ! -e ${dir}/${file} ] || mount --bind ${dir}/${file} ${over}; }`;
  return `${bind('boot_id', '/proc/sys/kernel/random/boot_id')} && ${bind('uptime', '/proc/uptime')}`;
}

/** In place: what is laid over something is the file, not its name. */
function writeBoot(dir: string, id: string, upSeconds: number): void {
  writeFileSync(join(dir, 'boot_id'), `${id}\n`);
  writeFileSync(join(dir, 'uptime'), `${upSeconds}.00 0.00\n`);
}

/** Starts a server and waits until it listens. Rejects with the reason where no sshd is to be had. */
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
      for (const pid of server.sessionPids()) kill(pid);
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
  readonly #hidden: readonly string[];

  constructor(
    dir: string,
    program: Program,
    { account, networkNamespace }: Pick<SshdOptions, 'account' | 'networkNamespace'>,
  ) {
    this.#networkNamespace = networkNamespace;
    this.#dir = dir;
    this.#program = program;
    this.#ownUsers = account !== undefined;
    this.#hidden = account?.without ?? [];
    running.add(this);
  }

  /** What can be done while the process exits: no waiting. */
  end(): void {
    for (const pid of this.#pids()) kill(pid);
    rmSync(this.#dir, { recursive: true, force: true });
  }

  start(): Promise<void> {
    const inside =
      this.#networkNamespace === undefined ? [] : ['ip', 'netns', 'exec', this.#networkNamespace];
    const command = [...inside, this.#program.path, '-D', '-e', '-f', join(this.#dir, 'sshd_config')];
    // The namespace is private, so the mount is seen by this server and its sessions only.
    const hidden = this.#hidden.map((program) => `mount --bind /dev/null ${program} && `).join('');
    const script = `${overlayEtc(join(this.#dir, 'etc'))} && ${bindBoot(this.#dir)} && ${hidden}exec "$@"`;
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

  /** Each connection is served by two processes, of which either may hold the socket. */
  sessionPids(): number[] {
    return this.#pids()
      .slice(1)
      .filter((pid) => readProcess(pid, 'comm').startsWith('sshd'));
  }

  suspend(): number[] {
    const pids = [...this.#pids().slice(0, 1), ...this.sessionPids()];
    for (const pid of pids) kill(pid, 'SIGSTOP');
    return pids;
  }

  /** The server and everything below it: sessions, and the commands they run. */
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
  // OpenSSH 9.8 was split into programs whose compiled-in paths are the installed ones, and punishes addresses for
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
    // bash reads ~/.bashrc over ssh at its first level only: what somebody has there is no part of a test.
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
    // What becomes root on this server has no business in the machine's own /root.
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

function readProcess(pid: number, file: 'stat' | 'comm'): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    // It ended meanwhile.
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
