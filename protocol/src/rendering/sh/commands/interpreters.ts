// Programs whose arguments or input are code, or the name of a variable: a value there would be run, however well it is
// quoted. Published as a table in docs/substitution.md; it can't list every program there is.
import { launchers } from './launchers.ts';

/**
 * Which arguments are affected.
 *
 * - `all`: each of them.
 * - `script`: those up to a script file that is named literally; the rest belong to that script.
 * - `after`: those after one of the words in `after`.
 * - `program`: those up to the word that names the command it runs, and all behind one of the words in `after`; the
 *   command's own are looked up by its name. See `commands-behind.ts`.
 * - `subcommand`: the same, if there is a subcommand that runs a command.
 * - `format`: the first one.
 * - `number`: those that are not numbers.
 * - `name`: the part before the `=` of `NAME=value`.
 * - `named`: all except the value of `--arg name value`.
 * - `dashes`: all, unless `--` is the first.
 * - `test`: see `../check-test.ts`.
 */
export type WhichArguments =
  | 'all'
  | 'script'
  | 'after'
  | 'program'
  | 'subcommand'
  | 'format'
  | 'number'
  | 'name'
  | 'named'
  | 'dashes'
  | 'test';

export interface Interpreter {
  names: readonly string[];
  arguments: WhichArguments;
  /** For `after`, `program` and `subcommand`. */
  after?: RegExp;
  /** For `script`: options that may precede the script file and don't contain a program. */
  harmless?: RegExp;
  /** Whether standard input is run too. */
  input: 'code' | 'code_without_program' | 'data';
  /** What it does with a value, continuing a sentence that begins with its name. */
  why: string;
  /** How to pass the value instead, if not in the general way. */
  fix?: string;
}

const shellFlags = /^([-+][abefhkmnpuvxCE]+|--(norc|noprofile|posix))$/;
const viaEnvironment = 'Set it in the environment of the step and read it there';

const runsByItself = `${viaEnvironment}, or run the command by itself.`;
const shellName = /^(.*\/)?(sh|bash|dash|ash|ksh|mksh|zsh|yash|csh|tcsh|fish|busybox|ssh|eval)$/;

function namesOfLaunchers(haveSubcommands: boolean): string[] {
  return Object.keys(launchers).filter(
    (name) => (launchers[name]?.subcommands !== undefined) === haveSubcommands,
  );
}

export const interpreters: readonly Interpreter[] = [
  {
    names: [
      'sh',
      'bash',
      'dash',
      'ash',
      'ksh',
      'mksh',
      'zsh',
      'yash',
      'csh',
      'tcsh',
      'fish',
      'rbash',
      'hush',
      'posh',
    ],
    arguments: 'script',
    harmless: shellFlags,
    input: 'code',
    why: 'reads it as a script again',
    fix: `${viaEnvironment}: sh -c 'printf "%s" "$NAME"'.`,
  },
  { names: ['eval'], arguments: 'all', input: 'data', why: 'runs it as shell text' },
  { names: ['source', '.'], arguments: 'all', input: 'code', why: 'runs the file that it names' },
  { names: ['trap'], arguments: 'all', input: 'data', why: 'runs it as shell text when a signal comes' },
  { names: ['alias', 'unalias'], arguments: 'all', input: 'data', why: 'makes shell text of it' },
  {
    names: ['coproc', 'fc', 'jobs', 'bind', 'complete', 'compgen', 'enable'],
    arguments: 'all',
    input: 'data',
    why: 'can run it',
  },
  {
    names: ['ssh', 'autossh', 'mosh', 'rsh', 'sshpass', 'pdsh', 'pssh', 'clush', 'parallel-ssh', 'plink'],
    arguments: 'all',
    input: 'code',
    why: 'hands its arguments and its input to a shell on the other host',
    fix: 'Run the step on that host itself: make it a target.',
  },
  {
    names: ['scp', 'rsync', 'sftp', 'rclone'],
    arguments: 'all',
    input: 'code',
    why: 'may hand a path to a shell on the other host, or run a program for it',
    fix: 'Run the step on that host itself, or use a literal path.',
  },
  {
    names: ['su', 'runuser', 'newgrp', 'sg'],
    arguments: 'all',
    input: 'code',
    why: 'hands it to a shell',
    fix: 'Use sudo -u user command, or connect as that user.',
  },
  {
    names: ['xargs', 'parallel', 'sem'],
    arguments: 'all',
    input: 'code',
    why: 'splits it and makes arguments or commands of it',
    fix: 'Use a loop: while IFS= read -r line; do command -- "$line"; done.',
  },
  {
    names: ['find'],
    arguments: 'after',
    after: /^-(exec|execdir|ok|okdir|fprintf|fprint0?|fls)$/,
    input: 'data',
    why: 'runs what follows -exec',
    fix: 'Put the value before -exec, or pipe find into a loop.',
  },
  {
    names: ['awk', 'gawk', 'mawk', 'nawk', 'original-awk', 'goawk'],
    arguments: 'all',
    input: 'data',
    why: 'takes arguments for program text, for files and for assignments with escapes',
    fix: `${viaEnvironment}: awk '{ print ENVIRON["NAME"] }'.`,
  },
  {
    names: ['sed', 'gsed', 'ssed'],
    arguments: 'all',
    input: 'data',
    why: 'takes it for a script, which can run commands and write files',
    fix: `${viaEnvironment}: awk '{ … ENVIRON["NAME"] … }'.`,
  },
  {
    names: ['perl', 'raku'],
    arguments: 'script',
    harmless: /^-[wWtTU]+$/,
    input: 'code_without_program',
    why: 'runs it as a program',
    fix: `${viaEnvironment}: perl -e 'print $ENV{NAME}'.`,
  },
  {
    names: ['python', 'pypy', 'ipython', 'jython', 'micropython'],
    arguments: 'script',
    harmless: /^-[bBdEhiIOqsSuvx]+$/,
    input: 'code_without_program',
    why: 'runs it as a program',
    fix: `${viaEnvironment}: python3 -c 'import os; print(os.environ["NAME"])'.`,
  },
  {
    names: ['ruby', 'jruby', 'irb'],
    arguments: 'script',
    harmless: /^-[vwW]+$/,
    input: 'code_without_program',
    why: 'runs it as a program',
    fix: `${viaEnvironment}: ruby -e 'puts ENV["NAME"]'.`,
  },
  {
    names: ['node', 'nodejs', 'bun', 'deno', 'tsx', 'ts-node'],
    arguments: 'script',
    harmless: /^--(no-warnings|trace-warnings)$/,
    input: 'code_without_program',
    why: 'runs it as a program',
    fix: `${viaEnvironment}: node -e 'console.log(process.env.NAME)'.`,
  },
  {
    names: [
      'php',
      'lua',
      'luajit',
      'tclsh',
      'wish',
      'expect',
      'guile',
      'r',
      'rscript',
      'julia',
      'osascript',
      'groovy',
      'jshell',
      'scala',
      'elixir',
      'iex',
      'erl',
      'ghc',
      'ghci',
      'runghc',
      'clojure',
      'octave',
      'gnuplot',
      'bc',
      'dc',
      'm4',
      'gdb',
      'lldb',
    ],
    arguments: 'script',
    harmless: /^$/,
    input: 'code',
    why: 'runs it as a program',
    fix: `${viaEnvironment}.`,
  },
  {
    names: ['pwsh', 'powershell', 'wsl', 'wine'],
    arguments: 'all',
    input: 'code',
    why: 'runs it as a program',
    fix: `${viaEnvironment}.`,
  },
  {
    names: [
      'ed',
      'ex',
      'vi',
      'vim',
      'nvim',
      'view',
      'emacs',
      'nano',
      'pico',
      'joe',
      'micro',
      'mcedit',
      'less',
      'more',
      'man',
      'screen',
      'tmux',
    ],
    arguments: 'all',
    input: 'code',
    why: 'takes commands as arguments and input',
  },
  {
    names: [
      'psql',
      'mysql',
      'mariadb',
      'sqlite',
      'sqlite3',
      'sqlcmd',
      'isql',
      'tsql',
      'bsql',
      'sqlplus',
      'duckdb',
      'clickhouse',
      'clickhouse-client',
      'cqlsh',
      'mongo',
      'mongosh',
      'redis-cli',
      'usql',
      'pgcli',
      'mycli',
      'bq',
      'beeline',
      'influx',
      'ldapmodify',
    ],
    arguments: 'all',
    input: 'code',
    why: 'runs it as a query',
    fix: `${viaEnvironment}, with the client's own variables: psql has \\getenv and :'name'.`,
  },
  {
    names: ['jq', 'yq', 'xq', 'gojq', 'jaq'],
    arguments: 'named',
    input: 'data',
    why: 'takes it for a filter',
    fix: `Hand it over as a variable: jq --arg name "…" '.x == $name'.`,
  },
  {
    names: ['make', 'gmake', 'bmake', 'ninja', 'just', 'rake', 'ant', 'gradle', 'mvn'],
    arguments: 'all',
    input: 'code',
    why: 'expands it, and runs what $(shell …) says',
  },
  {
    names: [
      'ansible',
      'ansible-playbook',
      'salt',
      'salt-call',
      'puppet',
      'bolt',
      'chef-client',
      'knife',
      'fab',
    ],
    arguments: 'all',
    input: 'code',
    why: 'takes it for a template or a command',
  },
  {
    names: ['crontab', 'at', 'batch', 'systemd-run'],
    arguments: 'all',
    input: 'code',
    why: 'runs it as shell text later',
  },
  {
    names: [
      ...['watch', 'watchexec', 'script', 'scriptreplay', 'entr', 'hyperfine', 'socat', 'gosu'],
      ...['dbus-send', 'gdbus', 'busctl', 'machinectl'],
    ],
    arguments: 'all',
    input: 'code',
    why: 'may run it, or hand it to something that does',
  },
  {
    names: namesOfLaunchers(false),
    arguments: 'program',
    after: shellName,
    input: 'data',
    why: 'runs the command that its arguments name',
    fix: runsByItself,
  },
  {
    names: namesOfLaunchers(true),
    arguments: 'subcommand',
    after: shellName,
    input: 'data',
    why: 'runs the command that its arguments name',
    fix: runsByItself,
  },
  {
    names: ['ip'],
    arguments: 'after',
    // It takes any beginning of its words.
    after: /^(e|ex|exe|exec)$/,
    input: 'code',
    why: 'runs what follows exec',
    fix: runsByItself,
  },
  {
    names: ['capsh', 'vagrant'],
    arguments: 'after',
    after: /^(--|==|-c|--command|ssh|winrm)$/,
    input: 'code',
    why: 'hands it to a shell',
    fix: runsByItself,
  },
  {
    names: ['start-stop-daemon', 'dialog'],
    arguments: 'after',
    after: /^(-[A-Za-z]*[ax]|--exec|--startas|--prgbox)$/,
    input: 'data',
    why: 'runs the command that such an option names',
    fix: runsByItself,
  },
  {
    names: ['cmake'],
    arguments: 'after',
    after: /^(-P|-C|env|time|chdir)$/,
    input: 'data',
    why: 'runs what follows -P, -C and -E env',
    fix: runsByItself,
  },
  {
    names: ['bwrap', 'xterm', 'uxterm', 'rxvt', 'urxvt', 'gnome-terminal', 'konsole', 'x-terminal-emulator'],
    arguments: 'all',
    input: 'code',
    why: 'runs the command that its arguments name',
    fix: runsByItself,
  },
  {
    names: ['run-parts', 'logrotate', 'run-mailcap', 'see', 'xdg-open', 'emacsclient', 'ldd'],
    arguments: 'all',
    input: 'data',
    why: 'runs what it names, or what is written in it',
  },
  {
    names: ['bpftrace', 'stap', 'dtrace', 'gs', 'ghostscript'],
    arguments: 'all',
    input: 'code',
    why: 'runs it as a program',
    fix: `${viaEnvironment}.`,
  },
  {
    names: ['tex', 'latex', 'pdftex', 'pdflatex', 'xetex', 'xelatex', 'luatex', 'lualatex', 'latexmk'],
    arguments: 'all',
    input: 'code',
    why: 'takes it for a program, which can run commands',
  },
  {
    names: ['convert', 'magick', 'mogrify', 'identify', 'composite', 'montage', 'conjure'],
    arguments: 'all',
    input: 'data',
    why: 'takes the beginning of a file name for the name of a format, some of which run commands',
    fix: 'Copy the file to a name of your own first: cp -- "…" ./input.',
  },
  {
    names: ['ftp', 'lftp', 'tnftp', 'smbclient'],
    arguments: 'all',
    input: 'code',
    why: 'takes what follows ! for a command',
  },
  {
    names: ['sops'],
    arguments: 'after',
    after: /^exec-(env|file)$/,
    input: 'data',
    why: 'hands it to a shell',
    fix: runsByItself,
  },
  {
    names: ['mail', 'mailx', 'mutt', 's-nail'],
    arguments: 'all',
    input: 'code',
    why: 'takes lines with ~! for commands',
    fix: 'Use sendmail -t, which runs nothing that it reads.',
  },
  {
    names: [
      'docker',
      'podman',
      'nerdctl',
      'crictl',
      'kubectl',
      'oc',
      'k3s',
      'microk8s',
      'lxc',
      'incus',
      'pct',
      'docker-compose',
      'podman-compose',
      'helm',
      'buildah',
    ],
    arguments: 'after',
    after:
      /^(exec|run|debug|attach|create|apply|compose|kubectl|ctr|template|install|upgrade|enter|shell|console)$/,
    input: 'code',
    why: 'runs what follows in a container, where it may be a command or a script',
    fix: `${viaEnvironment}, and pass that on by its name: docker exec -e NAME container command.`,
  },
  {
    names: ['printf'],
    arguments: 'format',
    input: 'data',
    why: 'takes it for its format',
    fix: `Write printf '%s\\n' "…" with the value as a second argument.`,
  },
  {
    names: ['print', 'whence', 'vared', 'zle', 'zmodload', 'autoload', 'emulate', 'zformat', 'zparseopts'],
    arguments: 'all',
    input: 'data',
    why: 'expands or runs it in some shells',
    fix: `Write printf '%s\\n' "…".`,
  },
  {
    names: [
      'read',
      'mapfile',
      'readarray',
      'getopts',
      'unset',
      'let',
      'declare',
      'typeset',
      'local',
      'integer',
      'float',
      'nameref',
      'wait',
      'hash',
    ],
    arguments: 'all',
    input: 'data',
    why: 'takes it for a name or an expression, and runs what stands in a subscript',
    fix: `Set a variable by itself first: NAME="…".`,
  },
  {
    names: ['export', 'readonly'],
    arguments: 'name',
    input: 'data',
    why: 'takes it for a name, and runs what stands in a subscript',
    fix: `Write export NAME="…" with a name of your own.`,
  },
  { names: ['test', '['], arguments: 'test', input: 'data', why: 'may run what stands in a subscript' },
  {
    names: ['shift', 'exit', 'return', 'break', 'continue', 'ulimit'],
    arguments: 'number',
    input: 'data',
    why: 'takes it for an expression in some shells',
    fix: 'Declare the parameter as an integer.',
  },
  {
    names: ['set'],
    arguments: 'dashes',
    input: 'data',
    why: 'takes it for options',
    fix: 'Write set -- "…".',
  },
  {
    names: ['expr'],
    arguments: 'all',
    input: 'data',
    why: 'takes it for a part of an expression',
    fix: 'Use case, or $(( … )) with an integer.',
  },
];

const byName = new Map(interpreters.flatMap((each) => each.names.map((name) => [name, each] as const)));

/** Returns the row of a command, by its name without the path: `/usr/bin/python3.11` is `python`. */
export function interpreterOf(command: string): Interpreter | undefined {
  const name = baseName(command);
  return byName.get(name) ?? byName.get(isLoader.test(name) ? 'ld.so' : withoutVersion(name));
}

/** The dynamic linker: `ld-linux-x86-64.so.2`, `ld-2.31.so`, `ld-musl-x86_64.so.1`. */
const isLoader = /^ld(64)?(-[^/]*)?\.so(\.\d+)?$/;

/** Whether a command runs something with these arguments, of which those are undefined that aren't known. */
export function runsSomething(interpreter: Interpreter, texts: readonly (string | undefined)[]): boolean {
  if (interpreter.arguments !== 'subcommand') return true;
  const known = interpreter.names.flatMap((name) => launchers[name]?.subcommands ?? []);
  return texts[0] === undefined || texts.some((text) => text !== undefined && known.includes(text));
}

/** Reads from the end: a pattern would try each of the digits of a name that is 128 KiB long. */
export function withoutVersion(name: string): string {
  let start = name.length;
  while (start > 0 && /[\d.]/.test(name.charAt(start - 1))) start--;
  const digit = name.slice(start).search(/\d/);
  if (digit < 0) return name;
  const at = start + digit;
  return name.slice(0, /[-.]/.test(name.charAt(at - 1)) ? at - 1 : at);
}

/** Returns the name of a program without its folder, in lower case, and without `.exe`. */
export function baseName(command: string): string {
  return command
    .slice(command.lastIndexOf('/') + 1)
    .toLowerCase()
    .replace(/\.exe$/, '');
}
