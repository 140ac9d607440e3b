// Programs that run the command named by their arguments, as sudo and timeout do, and how their options are read so that
// this command is found. Published as a table in docs/substitution.md.

/** A program that runs the command named by its arguments. */
export interface Wrapper {
  /** Letters of options; a colon follows those that take a value. */
  short: string;
  /** Names of options with two dashes; `=` follows those that take the next word as a value. */
  long?: readonly string[];
  /** Number of words before the command, such as the seconds of `timeout`. */
  positionals?: number;
  /**
   * Matches words before the command that set a variable. Programs look for a `=` only; whether it is a name that stands
   * in front of it doesn't matter to them.
   */
  assignment?: RegExp;
  /** Options that pass a text to a shell. */
  toShell?: RegExp;
  /** A word before the command that is an option without a letter. */
  alone?: string;
}

const none: Wrapper = { short: '' };
export const wrappers: Readonly<Record<string, Wrapper>> = {
  sudo: {
    short: 'ABbEHKknPSVvu:g:C:D:h:p:R:T:U:r:t:',
    long: [
      'user=',
      'group=',
      'preserve-env',
      'non-interactive',
      'set-home',
      'background',
      'chdir=',
      'host=',
      'prompt=',
    ],
    assignment: /^[^/].*=|^=/s,
    toShell: /^(-[A-Za-z]*[sie]|--(shell|login|edit))$/,
  },
  doas: { short: 'nu:C:L', toShell: /^-[A-Za-z]*s$/ },
  nohup: none,
  setsid: { short: 'cfw', long: ['fork', 'wait', 'ctty'] },
  timeout: {
    short: 'k:s:fpv',
    long: ['kill-after=', 'signal=', 'foreground', 'preserve-status', 'verbose'],
    positionals: 1,
  },
  nice: { short: 'n:', long: ['adjustment='] },
  ionice: { short: 'c:n:t', long: ['class=', 'classdata=', 'ignore'] },
  chrt: { short: 'bfiorRT:P:D:', positionals: 1 },
  taskset: { short: 'c', positionals: 1 },
  stdbuf: { short: 'i:o:e:', long: ['input=', 'output=', 'error='] },
  env: {
    short: 'i0vu:C:',
    long: ['ignore-environment', 'null', 'debug', 'unset=', 'chdir='],
    assignment: /=/,
    alone: '-',
    toShell: /^(-[A-Za-z0]*S.*|--split-string.*)$/,
  },
  command: { short: 'pvV' },
  builtin: none,
  exec: { short: 'cla:' },
  time: { short: 'pvf:o:a', long: ['format=', 'output=', 'append', 'portability', 'verbose'] },
  busybox: none,
  toybox: none,
  chroot: { short: '', long: ['userspec=', 'groups=', 'skip-chdir'], positionals: 1 },
  unshare: { short: 'imnpuUCTfrcS:G:R:w:', long: ['fork', 'mount-proc'] },
  setpriv: { short: '', long: ['reuid=', 'regid=', 'clear-groups', 'init-groups', 'no-new-privs'] },
  flock: {
    short: 'sxeouFnw:E:',
    long: ['shared', 'exclusive', 'nonblock', 'timeout=', 'close', 'no-fork'],
    positionals: 1,
    toShell: /^-[a-zA-Z]*c$|^--command$/,
  },
  strace: { short: 'fqe:o:p:s:' },
};
