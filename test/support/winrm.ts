// A WinRM host for one test file: `test/winrm-fixture/serve.py`, whose cryptography is that of gss-ntlmssp, MIT
// Kerberos and OpenSSL. Commands run in /bin/sh. It is not Windows: see docs/windows.md for what remains untested
// because of that.
import { type ChildProcess, type ChildProcessByStdio, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { freePort } from './free-port.ts';
import { ensureWinrmFixture, faketimeLibraries } from './packages.ts';

export const winrmUser = 'opsdeploy';
// No double quote, because kadmin interprets it.
export const winrmPassword = "Gülden & 'Süß'!";
const winrmDomain = 'FIXTURE';
export const winrmRealm = 'FIXTURE.TEST';

/** `http` requires every message to be sealed; `plain` accepts clear text, like Windows with AllowUnencrypted. */
const winrmListeners = ['http', 'plain', 'https', 'strict', 'sha384', 'pss'] as const;
export type WinrmListener = (typeof winrmListeners)[number];

export interface Mishap {
  /** The action of the message, such as `Receive`; by default any. */
  action?: string;
  /** Before the host acts on it, after that, or even before it checks who sent it. */
  moment?: 'before' | 'after' | 'http';
  what: string;
  times?: number;
  /** How many such messages succeed first. */
  skip?: number;
}

export interface WinrmStats {
  shells: number;
  created: number;
  handshakes: number;
  requests: string[];
  refusals: string[];
}

export interface WinrmFixtureOptions {
  /**
   * Programs that stand in for powershell.exe recognize, by their full text; and which /bin/sh code replaces which
   * script.
   */
  emulated?: {
    bootstrap: string;
    cmdRunner: string;
    batchRemover?: string;
    scripts?: Record<string, string>;
    fileServer?: string;
    taskProgram?: string;
    taskSupervisor?: string;
    limitsProgram?: string;
  };
  /** With its own KDC; whoever logs in by Kerberos must use its `krb5Config` as `KRB5_CONFIG`. */
  kerberos?: boolean;
  /** How far the clocks of the host and of its KDC are ahead of this machine's, such as `+3600s`. */
  ahead?: { host?: string; kdc?: string };
  /**
   * Settings of the host. `taskUsers`: users besides the system that scheduled tasks may run as, with their passwords.
   * Hosts that refuse users: `noAccess`; `noProfiles` (a shell with their profile). Hosts that lack something:
   * `noBasic`, `noPowershell`, `deafPowershell` (doesn't read input), `noCtrlC` (never reaches a command, as reported
   * of Windows if input is a pipe). Configured values: `tellsConfiguration`, `driveBytes`, `maxShells`,
   * `maxPollSeconds`, `maxSendSeconds`, `maxEnvelope`, `spaced`, `openEnded` (boundaries of sealed replies).
   */
  settings?: Record<string, unknown>;
}

const folder = join(import.meta.dirname, '../winrm-fixture');

/** Starts a host and waits until it is listening. Rejects with the reason if something it needs is unavailable. */
export async function startWinrm(options: WinrmFixtureOptions = {}): Promise<WinrmFixture> {
  const program = await ensureWinrmFixture();
  if ('missing' in program) throw new Error(program.missing);
  const dir = mkdtempSync(join(tmpdir(), 'opsconductor-winrm-'));
  const made = spawnSync('sh', [join(folder, 'make_certificates.sh')], { cwd: dir });
  if (made.status !== 0) throw new Error(`No certificates: ${made.stderr}`);
  const users = join(dir, 'users');
  writeFileSync(users, `${winrmDomain}:${winrmUser}:${winrmPassword}\n`);
  const tls = (name: string, digest: string, strict = false) => ({
    tls: true,
    certificate: join(dir, `${name}.pem`),
    key: join(dir, `${name}.key`),
    digest,
    strict,
    clientCa: join(dir, 'client.pem'),
    methods: ['negotiate', 'basic', 'certificate'],
  });
  const settings = {
    dir,
    users: { [winrmUser]: winrmPassword },
    emulated: options.emulated ?? { bootstrap: '', cmdRunner: '' },
    ...options.settings,
    listeners: {
      http: { tls: false, methods: ['negotiate'] },
      plain: { tls: false, plain: true, methods: ['negotiate', 'basic'] },
      https: tls('sha256', 'sha256'),
      strict: tls('sha256', 'sha256', true),
      sha384: tls('sha384', 'sha384', true),
      pss: tls('pss', 'sha512', true),
    } satisfies Record<WinrmListener, unknown>,
  };
  const realm = options.kerberos === true ? await startRealm(dir, options.ahead?.kdc) : undefined;
  const configuration = join(dir, 'configuration.json');
  writeFileSync(configuration, JSON.stringify(settings));
  const child = spawn(program.path, [join(folder, 'serve.py'), configuration], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: {
      ...process.env,
      NTLM_USER_FILE: users,
      PYTHONDONTWRITEBYTECODE: '1',
      ...realm?.env,
      ...clockOf(options.ahead?.host),
    },
  });
  const fixture = new WinrmFixture(child, dir, realm?.kdc);
  await fixture.ready;
  return fixture;
}

/** Environment for a program whose clock should be ahead. */
function clockOf(ahead: string | undefined): Record<string, string> {
  if (ahead === undefined) return {};
  const library = faketimeLibraries.map((path) => `/${path}`).find((path) => existsSync(path));
  if (library === undefined) throw new Error('libfaketime is not installed');
  return { LD_PRELOAD: library, FAKETIME: ahead, FAKETIME_DONT_FAKE_MONOTONIC: '1' };
}

/** Starts a realm containing the user and the host, and its KDC. */
async function startRealm(
  dir: string,
  ahead: string | undefined,
): Promise<{ kdc: ChildProcess; env: Record<string, string> }> {
  const port = await freePort();
  const services = ['HTTP/127.0.0.1', 'HTTP/localhost'];
  const made = spawnSync(
    'sh',
    [join(folder, 'make_realm.sh'), String(port), winrmUser, winrmPassword, ...services],
    { cwd: dir },
  );
  if (made.status !== 0) throw new Error(`No realm: ${made.stderr}`);
  const env = {
    KRB5_CONFIG: join(dir, 'krb5.conf'),
    KRB5_KDC_PROFILE: join(dir, 'kdc.conf'),
    KRB5_KTNAME: join(dir, 'host.keytab'),
  };
  // In the foreground, logging to us.
  const kdc = spawn('/usr/sbin/krb5kdc', ['-n', '-r', winrmRealm], {
    env: { ...process.env, ...env, ...clockOf(ahead) },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  await listening(port, kdc);
  return { kdc, env };
}

async function listening(port: number, kdc: ChildProcess): Promise<void> {
  for (;;) {
    if (kdc.exitCode !== null) throw new Error('The KDC has ended');
    const socket = connect(port, '127.0.0.1');
    const isUp = await new Promise<boolean>((resolve) => {
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    });
    socket.destroy();
    if (isUp) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const running = new Set<WinrmFixture>();
process.once('exit', () => {
  for (const fixture of running) fixture.kill();
});

export class WinrmFixture {
  readonly host = '127.0.0.1';
  readonly dir: string;
  readonly ready: Promise<void>;
  log = '';
  #ports: Partial<Record<WinrmListener, number>> = {};
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly #asked = new Map<number, (result: unknown) => void>();
  readonly #kdc: ChildProcess | undefined;
  readonly #ended: Promise<void>;
  #last = 0;

  constructor(
    child: ChildProcessByStdio<Writable, Readable, Readable>,
    dir: string,
    kdc: ChildProcess | undefined,
  ) {
    this.#child = child;
    this.#kdc = kdc;
    this.dir = dir;
    running.add(this);
    child.stderr.on('data', (bytes) => {
      this.log += bytes;
    });
    this.#ended = new Promise((resolve) => child.once('close', () => resolve()));
    this.ready = new Promise((resolve, reject) => {
      createInterface(child.stdout).on('line', (line) => {
        const said = JSON.parse(line) as {
          ready?: Record<WinrmListener, number>;
          id?: number;
          result?: unknown;
        };
        if (said.ready !== undefined) {
          this.#ports = said.ready;
          resolve();
        } else if (said.id !== undefined) this.#asked.get(said.id)?.(said.result);
      });
      child.once('error', reject);
      child.once('close', () => reject(new Error(`The WinRM fixture has ended: ${this.log}`)));
    });
  }

  /** Value for `KRB5_CONFIG`. */
  get krb5Config(): string {
    return join(this.dir, 'krb5.conf');
  }

  /** The folder that the host calls `C:\\`; created by the test that uses it. */
  get drive(): string {
    return join(this.dir, 'drives/C');
  }

  /** Names of the existing scheduled tasks. */
  get tasks(): string[] {
    const folder = join(this.dir, 'tasks');
    return existsSync(folder) ? readdirSync(folder) : [];
  }

  /** Paths of its files that contain a text, relative to its folder. */
  filesWith(text: string): string[] {
    const all = readdirSync(this.dir, { recursive: true, withFileTypes: true });
    const paths = all.filter((each) => each.isFile()).map(({ parentPath, name }) => join(parentPath, name));
    return paths.filter((path) => readFileSync(path).includes(text));
  }

  /** The user's keytab. */
  get keytab(): string {
    return join(this.dir, 'user.keytab');
  }

  port(listener: WinrmListener): number {
    return this.#ports[listener] ?? 0;
  }

  /** PEM of a listener's certificate, or of one for clients, with its key. */
  certificate(name: 'sha256' | 'sha384' | 'pss' | 'client'): { certificate: string; privateKey: string } {
    const read = (file: string) => readFileSync(join(this.dir, file), 'utf8');
    return { certificate: read(`${name}.pem`), privateKey: read(`${name}.key`) };
  }

  stats(): Promise<WinrmStats> {
    return this.#ask({ do: 'stats' }) as Promise<WinrmStats>;
  }

  /** Makes something go wrong with future messages. */
  async mishap(mishap: Mishap): Promise<void> {
    await this.#ask({ do: 'mishap', mishap });
  }

  /** Ends all mishaps, and resets all counters. */
  async reset(settings: Record<string, unknown> = {}): Promise<void> {
    await this.#ask({ do: 'reset', settings });
  }

  /** Forgets all sessions, as after a long idle time. */
  async forgetSessions(): Promise<void> {
    await this.#ask({ do: 'forget' });
  }

  /** Drops all shells, as when the service is restarted. */
  async loseShells(): Promise<void> {
    await this.#ask({ do: 'lose_shells' });
  }

  async stop(): Promise<void> {
    running.delete(this);
    this.#child.stdin.end();
    this.#kdc?.kill();
    await this.#ended;
    rmSync(this.dir, { recursive: true, force: true });
  }

  /** Kills it immediately, while this process exits. */
  kill(): void {
    this.#child.kill('SIGKILL');
    this.#kdc?.kill('SIGKILL');
    rmSync(this.dir, { recursive: true, force: true });
  }

  #ask(question: Record<string, unknown>): Promise<unknown> {
    this.#last += 1;
    const id = this.#last;
    return new Promise((resolve, reject) => {
      this.#asked.set(id, resolve);
      this.#child.stdin.write(`${JSON.stringify({ id, ...question })}\n`, (error) => error && reject(error));
    });
  }
}
