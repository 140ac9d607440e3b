// The product's server and agents as processes that a test can end, kill and start at will.
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { vi } from 'vitest';
import { withoutProxy } from '../../agent/src/connection/proxy.ts';
import { enroll } from '../../agent/src/enrollment/enroll.ts';
import { createLog } from '../../agent/src/log.ts';
import { kill, WatchedProcess } from './watched-process.ts';

const root = resolve(import.meta.dirname, '../..');
const agentFile = join(root, '.cache/build/agent.mjs');
const serverFile = join(root, '.cache/build/test-server.mjs');
const sourceMaps = pathToFileURL(join(root, 'scripts/source-maps.mjs')).href;
const journalWaitMs = 30_000;

// The product's are 5 s and 20 s.
const timings = { heartbeatIntervalMs: 500, leaseTtlMs: 4_000 };
export const { leaseTtlMs } = timings;

/** A program of the system that a test can end and start at will. */
class Restartable {
  protected process: WatchedProcess | undefined;
  readonly #past: WatchedProcess[] = [];

  /**
   * `mark`: appears in the command lines of everything it starts and of nothing else; a folder with its final slash.
   */
  protected spawn(command: string[], env: Record<string, string>, mark: string): WatchedProcess {
    if (this.process !== undefined) this.#past.push(this.process);
    this.process = new WatchedProcess({ command, cwd: root, env, marks: [mark] });
    return this.process;
  }

  get pid(): number {
    return this.process?.pid ?? 0;
  }

  /** Everything that the current process has printed. */
  get output(): string {
    return this.process?.output ?? '';
  }

  says(pattern: RegExp): Promise<RegExpExecArray> {
    if (this.process === undefined) throw new Error('it was never started');
    return this.process.says(pattern);
  }

  signal(name: NodeJS.Signals): void {
    process.kill(this.pid, name);
  }

  async kill9(): Promise<void> {
    kill(this.pid);
    await this.process?.ended();
  }

  /** Peak resident memory of the current process, in bytes. */
  async peakRssBytes(): Promise<number> {
    const status = await readFile(`/proc/${this.pid}/status`, 'utf8');
    return Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? Number.NaN) * 1024;
  }

  /** Stops it in an orderly way, and returns what it left behind. */
  async stop(): Promise<string[]> {
    if (this.process === undefined) return [];
    try {
      process.kill(this.pid, 'SIGCONT');
      process.kill(this.pid, 'SIGTERM');
    } catch {
      // It was killed by the test.
    }
    await this.process.ended();
    const left: string[] = [];
    for (const each of [...this.#past, this.process]) {
      left.push(...each.processes().map(({ pid, command }) => `${pid} ${command}`));
      await each.killAll();
    }
    return left;
  }
}

export class TestServer extends Restartable {
  readonly #args: string[];
  readonly #env: Record<string, string>;
  readonly #dir: string;
  /** Additions to the environment of its next process. */
  environment: Record<string, string> = {};

  /** `checkout`: where its sources are, for another version. */
  constructor(port: number, dir: string, env: Record<string, string>, checkout?: string) {
    super();
    this.#dir = dir;
    this.#args =
      checkout === undefined
        ? ['--import', sourceMaps, serverFile]
        : ['--import', 'tsx', join(checkout, 'test/support/server-main.ts')];
    this.#args.push('--no-demo', '--port', String(port), '--data', join(dir, 'data'));
    this.#env = { ...env, OPSCONDUCTOR_TEST_TIMINGS: JSON.stringify(timings) };
  }

  async start(): Promise<void> {
    const env = { ...this.#env, ...this.environment };
    await this.spawn([process.execPath, ...this.#args], env, join(this.#dir, 'data/')).says(/listening at/);
  }
}

export class TestAgent extends Restartable {
  readonly name: string;
  readonly dataDir: string;
  readonly #slots: number;
  readonly #file: string;
  /** How its program is called. */
  readonly #program: string[];
  /** What its owner allows. */
  policy: string | undefined;
  /** Additional arguments of its next process. */
  arguments: readonly string[] = [];
  /** Additions to the environment of its next process. */
  environment: Record<string, string> = {};

  /** `file`: of another version, or an executable. */
  constructor(name: string, dataDir: string, slots: number, file = agentFile) {
    super();
    this.#file = file;
    this.#program = file.endsWith('.mjs') ? [process.execPath, file] : [file];
    this.name = name;
    this.dataDir = dataDir;
    this.#slots = slots;
  }

  /** Enrolls as its program does, but without another process; any other program does it itself. */
  async enroll(server: string, token: string, caFile?: string): Promise<void> {
    if (this.#file === agentFile) {
      const { name, dataDir } = this;
      const log = createLog({ level: 'silent', plain: false });
      await enroll({ server, token, name, dataDir, caFile, force: false, proxy: withoutProxy, log });
      return;
    }
    const args = ['enroll', '--server', server, '--token-file', '-', '--name', this.name];
    if (caFile !== undefined) args.push('--ca-file', caFile);
    const command = [...this.#program, ...args, '--data', this.dataDir];
    const enrolling = new WatchedProcess({ command, cwd: root, input: `${token}\n` });
    if ((await enrolling.ended()) !== 0) throw new Error(`not enrolled: ${enrolling.output}`);
  }

  /** Starts it; by default resolves when it is connected. */
  async start({ connected = true } = {}): Promise<void> {
    const policy = this.policy === undefined ? [] : ['--policy', this.policy];
    const args = ['run', '--data', this.dataDir, '--slots', String(this.#slots), ...policy];
    args.push(...this.arguments);
    const environment = { OPSCONDUCTOR_LOG_LEVEL: 'info', ...this.environment };
    const child = this.spawn([...this.#program, ...args], environment, `${this.dataDir}/`);
    if (connected) await child.says(/"msg":"connected"/);
  }

  /** Resolves when its journal contains such a record for the step. */
  async hasJournaled(record: 'leased' | 'starting' | 'finished', stepId: number): Promise<void> {
    await vi.waitFor(
      async () => {
        const journal = await readFile(join(this.dataDir, 'journal'), 'utf8');
        if (!journal.includes(`"is":"${record}","step":${stepId},`))
          throw new Error(`step ${stepId} is not ${record} in ${journal}`);
      },
      { timeout: journalWaitMs },
    );
  }

  ended(): Promise<number | null> {
    if (this.process === undefined) throw new Error('it was never started');
    return this.process.ended();
  }
}

interface Builds {
  buildAll(): Promise<void>;
  buildForTests(): Promise<void>;
}
const loadBuilds = () => import(join(root, 'scripts/build.mjs')) as Promise<Builds>;
let building: Promise<void> | undefined;
let buildingConsole: Promise<void> | undefined;

/** Builds the agent and the server from the current sources, once in this process: looking for changes reads them all. */
export function buildPrograms(): Promise<void> {
  building ??= loadBuilds().then((builds) => builds.buildForTests());
  return building;
}

/** As `buildPrograms`, with the console. */
export function buildConsole(): Promise<void> {
  buildingConsole ??= loadBuilds().then((builds) => builds.buildAll());
  return buildingConsole;
}
