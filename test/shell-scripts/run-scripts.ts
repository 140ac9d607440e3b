// Runs many scripts in a real shell, each in an empty folder, and tells which of them ran a value. Values name the
// program `mk7`, which nothing else calls.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { quote } from '../../agent/src/ssh/quote.ts';

export interface TestShell {
  name: string;
  path: string;
  env: Record<string, string>;
  /** The name it is called by, which determines how it behaves. */
  as: string;
  /** Whether it is for steps with `shell: bash`. */
  isBash: boolean;
}

export interface RunnableScript {
  command: string;
  /** Statements that set the variables that the command refers to. */
  prelude: readonly string[];
  environment: Readonly<Record<string, string>>;
}

/** Programs that do what they are told, as a user who may write only where the scripts run. */
const realPrograms = [
  ...['cat', 'tr', 'head', 'tail', 'cut', 'sort', 'uniq', 'wc', 'tee', 'grep', 'basename', 'dirname', 'env'],
  ...['xargs', 'find', 'mkdir', 'cp', 'ls', 'seq', 'true', 'false', 'timeout', 'nice', 'nohup', 'stdbuf'],
  ...['printenv', 'mktemp', 'expr', 'date', 'id', 'diff', 'printf', 'echo', 'test', '['],
];

const hit = ': >"${HITS:-${0%/*}/../hits}/${SCRIPT:-unknown}"';
const looksAtAll = `for each do case $each in *mk7*) ${hit} ;; esac; done`;
const looksAtProgram = `case $1 in -*[ceE]) case $2 in *mk7*) ${hit} ;; esac ;; esac`;
const isShell = (path: string) => `${looksAtProgram}\nexec ${path} "$@"`;
const skipsOptions =
  'while :; do case $1 in -u|-g|-o|-l|-p) shift 2 ;; --) shift; break ;; -*) shift ;; *=*) export "$1"; shift ;; *) break ;; esac; done';
/** Programs that stand in for those that reach further, and for those whose arguments are code. */
const stubs: Readonly<Record<string, string>> = {
  mk7: hit,
  sudo: `case " $* " in *" -s "*|*" -i "*) exec sh -c "$*" ;; esac\n${skipsOptions}\n[ $# = 0 ] || exec "$@"`,
  ssh: `${skipsOptions}\nshift\ncase $1 in --) shift ;; esac\n[ $# = 0 ] && exec sh\nexec sh -c "$*"`,
  su: 'while [ $# -gt 0 ]; do case $1 in -c) exec sh -c "$2" ;; esac; shift; done; exec sh',
  docker: 'while [ $# -gt 0 ]; do case $1 in exec) shift 2; exec "$@" ;; esac; shift; done',
  awk: looksAtAll,
  sed: `${looksAtAll}; cat`,
  perl: `${looksAtProgram}; cat`,
  python3: `${looksAtProgram}; cat`,
};

export class ScriptRunner {
  readonly #folder = mkdtempSync(join(tmpdir(), 'hostile-scripts-'));
  readonly #programs = join(this.#folder, 'bin');
  #batches = 0;

  constructor(shells: readonly TestShell[]) {
    chmodSync(this.#folder, 0o755);
    mkdirSync(this.#programs);
    mkdirSync(join(this.#folder, 'hits'));
    chmodSync(join(this.#folder, 'hits'), 0o777);
    for (const name of realPrograms) {
      const path = ['/usr/bin', '/bin'].map((folder) => join(folder, name)).find(existsSync);
      if (path !== undefined) symlinkSync(path, join(this.#programs, name));
    }
    const dash = shells.find(({ name }) => name.startsWith('dash'))?.path ?? '/bin/sh';
    const bash = shells.find(({ isBash }) => isBash)?.path ?? '/bin/bash';
    const all = { ...stubs, sh: isShell(dash), dash: isShell(dash), bash: isShell(bash) };
    for (const [name, text] of Object.entries(all))
      writeFileSync(join(this.#programs, name), `#!${dash}\n${text}\n`, { mode: 0o755 });
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** Returns the indexes of the scripts that ran a value, and of those that did not end. */
  async run(
    shell: TestShell,
    scripts: readonly RunnableScript[],
  ): Promise<{ hits: Set<number>; stuck: number[] }> {
    this.#batches += 1;
    const folder = join(this.#folder, `batch${this.#batches}`);
    const hitsFolder = join(folder, 'hits');
    mkdirSync(hitsFolder, { recursive: true });
    chmodSync(hitsFolder, 0o777);
    for (const [index, script] of scripts.entries()) {
      mkdirSync(join(folder, String(index)));
      chmodSync(join(folder, String(index)), 0o777);
      writeFileSync(join(folder, `${index}.sh`), textOf(script));
    }
    const stuck: number[] = [];
    for (let from = 0; from < scripts.length; ) {
      const reached = await this.#drive(shell, folder, from, scripts.length);
      if (reached < scripts.length) stuck.push(reached);
      from = reached + 1;
    }
    const hits = new Set(readdirSync(hitsFolder).map(Number));
    const [unknown] = readdirSync(join(this.#folder, 'hits'));
    if (unknown !== undefined) {
      rmSync(join(this.#folder, 'hits', unknown));
      if (scripts.length === 1) hits.add(0);
      else
        for (const [index, script] of scripts.entries())
          if ((await this.run(shell, [script])).hits.size > 0) hits.add(index);
    }
    rmSync(folder, { recursive: true, force: true });
    return { hits, stuck };
  }

  /** Returns a path that ends with the name that the shell is called by. */
  #called(shell: TestShell): string {
    const folder = join(this.#folder, `called${shell.name.replaceAll(' ', '-')}`);
    const path = join(folder, shell.as);
    if (existsSync(path)) return path;
    mkdirSync(folder);
    symlinkSync(shell.path, path);
    return path;
  }

  /** Runs the scripts from an index on, one after the other. Returns the index of the first that did not end. */
  async #drive(shell: TestShell, folder: string, from: number, to: number): Promise<number> {
    // Forking is much cheaper than starting the shell for each.
    const driver = [
      `i=${from}`,
      `while [ "$i" -lt ${to} ]; do`,
      `command echo "$i" >&9`,
      `( cd ${folder}/$i && SCRIPT=$i && export SCRIPT && unset i && . ${folder}/$SCRIPT.sh ) </dev/null >/dev/null 2>&1 9>&-`,
      'i=$((i + 1))',
      'done',
      `command echo ${to} >&9`,
    ].join('\n');
    const isRoot = process.getuid?.() === 0;
    const limits = ['--cpu=2', '--fsize=1000000', '--core=0', ...(isRoot ? ['--nproc=2000'] : []), '--'];
    const asNobody = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '--'];
    const env = {
      PATH: this.#programs,
      HITS: join(folder, 'hits'),
      SHELL: join(this.#programs, 'sh'),
      LC_ALL: 'C.UTF-8',
      HOME: folder,
      ...shell.env,
    };
    const environment = Object.entries(env).map(([name, value]) => `${name}=${value}`);
    const child = spawn(
      'prlimit',
      [
        ...limits,
        ...(isRoot ? asNobody : []),
        'env',
        '-i',
        ...environment,
        this.#called(shell),
        '-c',
        driver,
      ],
      {
        cwd: folder,
        detached: true,
        stdio: ['ignore', 'ignore', 'ignore', ...Array(6).fill('ignore'), 'pipe'],
      },
    );
    let reached = from;
    let said = '';
    const progress = child.stdio[9 as number] as unknown as NodeJS.ReadableStream;
    const kill = () => {
      try {
        process.kill(-(child.pid as number), 'SIGKILL');
      } catch {
        // It has ended.
      }
    };
    let timer = setTimeout(kill, 2_500);
    progress.on('data', (bytes: Buffer) => {
      said += bytes;
      const lines = said.split('\n');
      reached = Math.max(reached, Number(lines.at(-2) ?? from));
      clearTimeout(timer);
      timer = setTimeout(kill, 2_500);
    });
    const [code] = (await once(child, 'exit')) as [number | null];
    clearTimeout(timer);
    // What runs on in the background is ended, too.
    kill();
    if (said === '') throw new Error(`${shell.name} ended with ${code} before the first script`);
    return reached;
  }
}

/** As an agent sends it. */
function textOf({ command, prelude, environment }: RunnableScript): string {
  const set = Object.entries(environment).map(([name, value]) => `${name}=${quote(value)}; export ${name}`);
  return ['{', ...set, ...prelude, `eval ${quote(command)}`, '}', ''].join('\n');
}
