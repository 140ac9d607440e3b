// Programs that run the command named by their arguments and that have too many options for `wrappers.ts`: which word
// names the command is a guess, in which the doubtful words count, too. Published as a table in docs/substitution.md.
import type { Wrapper } from './wrappers.ts';

/** `short` and `long` are those of its options that are known, and whose value has no say in what runs unless they are `decisive`. */
export interface Launcher extends Partial<Pick<Wrapper, 'short' | 'long' | 'positionals'>> {
  /** Whether the positionals may be left out, so that one of them may be the command. */
  mayLackPositionals?: true;
  /** Words behind which it runs a command, also two of them; without one of them, it runs none. */
  subcommands?: readonly string[];
  /** Words that may precede such a word, with the number of their own arguments. */
  prefixes?: Readonly<Record<string, 0 | 1>>;
  /** Those of the known options whose value does have a say. */
  decisive?: RegExp;
  /** Options with which it runs nothing. */
  idle?: RegExp;
}

const any: Launcher = {};
/** `positionals` of those whose command stands behind `--`. */
export const beforeDashes = Number.POSITIVE_INFINITY;
const architecture: Launcher = {
  short: 'BFILRSTXZ3v',
  long: [
    ...['32bit', 'fdpic-funcptrs', 'short-inode', 'addr-compat-layout', 'addr-no-randomize', 'whole-seconds'],
    ...['sticky-timeouts', 'read-implies-exec', 'mmap-page-zero', '3gb', '4gb', 'uname-2.6', 'verbose'],
  ],
};
const ofProcess = /^(-p|--pid)/;
const behind = (...subcommands: readonly string[]): Launcher => ({ subcommands });
const environments: Launcher = {
  subcommands: ['run'],
  short: 'n:p:v',
  long: ['name=', 'prefix=', 'no-capture-output', 'live-stream', 'verbose'],
};
const packages: Launcher = {
  subcommands: ['exec', 'x', 'run', 'run-script', 'rum', 'urn', 'dlx', 'create', 'init', 'innit'],
  short: 'gsC:',
  long: ['global', 'silent', 'registry=', 'loglevel=', 'yes', 'prefix=', 'package='],
  decisive: /^(-C|--prefix|--package)/,
};

export const launchers: Readonly<Record<string, Launcher>> = {
  nsenter: {
    short: 'at:muinpCUTFcZe',
    long: [
      ...['all', 'target=', 'mount', 'uts', 'ipc', 'net', 'pid', 'cgroup', 'user', 'time', 'env', 'no-fork'],
      ...['user-parent', 'preserve-credentials', 'keep-caps', 'join-cgroup', 'follow-context'],
    ],
  },
  setarch: { ...architecture, positionals: 1, mayLackPositionals: true },
  linux32: architecture,
  linux64: architecture,
  i386: architecture,
  i486: architecture,
  i586: architecture,
  i686: architecture,
  x86_64: architecture,
  uname26: architecture,
  prlimit: {
    long: [
      ...['core', 'data', 'nice', 'fsize', 'sigpending', 'memlock', 'rss', 'nofile', 'msgqueue', 'rtprio'],
      ...['stack', 'cpu', 'nproc', 'as', 'locks', 'rttime', 'noheadings', 'raw', 'verbose'],
    ],
    idle: ofProcess,
  },
  choom: { short: 'n:', long: ['adjust='], idle: ofProcess },
  cpulimit: { short: 'l:c:zfbqvmi', long: ['limit=', 'cpu=', 'lazy'], idle: /^(-[pPe]|--(pid|path|exe))/ },
  numactl: {
    short: 'N:m:i:p:C:la',
    long: ['cpunodebind=', 'membind=', 'interleave=', 'preferred=', 'physcpubind=', 'localalloc', 'all'],
  },
  'systemd-inhibit': {
    long: ['what=', 'who=', 'why=', 'mode=', 'no-pager', 'no-legend', 'no-ask-password'],
  },
  'systemd-cat': {
    short: 't:p:',
    long: ['identifier=', 'priority=', 'stderr-priority=', 'level-prefix=', 'namespace='],
  },
  'systemd-nspawn': any,
  'systemd-socket-activate': any,
  run0: { short: 'u:g:D:', long: ['user=', 'group=', 'chdir=', 'nice=', 'unit=', 'description='] },
  fakeroot: { short: 'u', long: ['unknown-is-real'] },
  fakechroot: any,
  eatmydata: any,
  'dbus-run-session': any,
  'dbus-launch': any,
  'xvfb-run': {
    short: 'an:le:f:p:w:s:',
    long: ['auto-servernum', 'server-num=', 'listen-tcp', 'server-args='],
    decisive: /^(-[a-z]*s|--server-args)/,
  },
  unbuffer: { short: 'p' },
  chronic: { short: 've' },
  daemonize: any,
  pkexec: { short: 'u:', long: ['user=', 'disable-internal-agent', 'keep-cwd'] },
  cgexec: { short: 'g:' },
  'su-exec': { positionals: 1 },
  setuidgid: { positionals: 1 },
  's6-setuidgid': { positionals: 1 },
  envdir: { positionals: 1 },
  's6-envdir': { positionals: 1 },
  envuidgid: { positionals: 1 },
  's6-envuidgid': { positionals: 1 },
  setlock: { short: 'nNxX', positionals: 1 },
  's6-setlock': { short: 'nN', positionals: 1 },
  pgrphack: any,
  argv0: any,
  chpst: any,
  softlimit: any,
  's6-softlimit': any,
  faketime: { short: 'm', positionals: 1 },
  runcon: { positionals: 1, mayLackPositionals: true },
  'aa-exec': { short: 'p:n:div', long: ['profile=', 'namespace=', 'debug', 'immediate', 'verbose'] },
  torsocks: { short: 'iqd', long: ['isolate', 'quiet', 'debug'] },
  torify: any,
  proxychains: { short: 'q' },
  proxychains4: { short: 'q' },
  tsocks: any,
  firejail: any,
  proot: any,
  schroot: { short: 'c:u:q', long: ['chroot=', 'user=', 'quiet'] },
  'arch-chroot': { positionals: 1 },
  tini: { short: 'svwg' },
  'dumb-init': { short: 'cv', long: ['single-child', 'verbose'] },
  catchsegv: any,
  'ld.so': any,
  rlwrap: any,
  ltrace: { short: 'fcCSi' },
  valgrind: { short: 'qv', long: ['tool=', 'leak-check=', 'error-exitcode=', 'quiet', 'verbose'] },
  caffeinate: any,
  'ssh-agent': { short: 'csdDka:t:E:' },
  npx: {
    short: 'yqp:',
    long: ['yes', 'no', 'quiet', 'no-install', 'package='],
    decisive: /^(-[a-z]*p|--package)/,
  },
  bunx: any,
  pipx: behind('run'),
  uvx: any,
  'lxc-attach': { short: 'n:q', long: ['name=', 'clear-env', 'keep-env', 'quiet'] },
  'lxc-execute': { short: 'n:q', long: ['name=', 'quiet'] },
  perf: {
    subcommands: [
      ...['stat', 'record', 'trace', 'ftrace', 'mem', 'lock', 'sched', 'c2c', 'kvm', 'kmem', 'timechart'],
      ...['kwork', 'script', 'bench', 'iostat'],
    ],
    short: 'advgqe:p:t:C:F:r:o:x:',
    long: ['all-cpus', 'event=', 'pid=', 'tid=', 'cpu=', 'freq=', 'repeat=', 'output=', 'verbose', 'quiet'],
  },
  npm: packages,
  pnpm: packages,
  yarn: { ...packages, prefixes: { workspace: 1, workspaces: 0, foreach: 0 } },
  yarnpkg: { ...packages, prefixes: { workspace: 1, workspaces: 0, foreach: 0 } },
  pipenv: behind('run'),
  poetry: behind('run'),
  pdm: behind('run'),
  hatch: behind('run'),
  uv: { subcommands: ['run'], prefixes: { tool: 0 } },
  conda: environments,
  mamba: environments,
  micromamba: environments,
  go: behind('run', 'generate', 'tool'),
  bundle: behind('exec'),
  bundler: behind('exec'),
  rbenv: behind('exec'),
  pyenv: behind('exec'),
  asdf: behind('exec'),
  composer: { subcommands: ['exec', 'run', 'run-script'], prefixes: { global: 0 } },
  direnv: { subcommands: ['exec'], positionals: 1 },
  mise: { subcommands: ['exec', 'x', 'run', 'r'], positionals: beforeDashes },
  flatpak: behind('run'),
  snap: behind('run'),
  apptainer: { subcommands: ['exec', 'run', 'shell'], positionals: 1 },
  singularity: { subcommands: ['exec', 'run', 'shell'], positionals: 1 },
  'aws-vault': { subcommands: ['exec'], positionals: 1 },
  chamber: { subcommands: ['exec'], positionals: beforeDashes },
  doppler: behind('run'),
  op: behind('run'),
};
