// Builds the script that runs a command on a target. It is sent on stdin, because every user of the host can see
// arguments, and each is limited to 128 KiB.
import { quote } from '../../ssh/quote.ts';

/**
 * What the login shell is asked to run. Any login shell must understand it (sh, csh, fish), so it has no `!`, backslash
 * or newline. The first line of stdin becomes the environment variable that marks all the attempt's processes. A second
 * shell reads the rest, because /proc shows a process's environment as it was when the process started.
 */
export const bootstrapCommand =
  "exec /bin/sh -c 'read -r OPSCONDUCTOR_ATTEMPT && export OPSCONDUCTOR_ATTEMPT && exec /bin/sh'";

/**
 * The same if the login shell is known to be one of `posixShells`, which read the line themselves: a third less for the
 * target to start.
 */
export const posixBootstrapCommand =
  'read -r OPSCONDUCTOR_ATTEMPT && export OPSCONDUCTOR_ATTEMPT && exec /bin/sh';

/** Names of shells whose `read` takes no more from a pipe than its line. */
const posixShells = ['sh', 'ash', 'dash', 'bash', 'mksh', 'zsh'];

/** Statements that say which kind of login shell sshd started, before anything else sets its variable. */
const askLoginShell = [
  `case $SHELL in ${posixShells.map((name) => `*/${name}`).join('|')}) OPSCONDUCTOR_GO=posix;; *) OPSCONDUCTOR_GO=other;; esac`,
];

/** How much of what is sent to a terminal is not the script: the marker and the script's length in bytes. */
const terminalHeadBytes = 128;
/**
 * Sets $1 to the marker and $2 to the length. `read` is no use: in a terminal bash takes it for granted that a line
 * comes alone, and loses what comes with it.
 */
export const readTerminalHead = `set -- $(dd bs=1 count=${terminalHeadBytes} 2>/dev/null)`;

/**
 * The same for a terminal. A shell that read the script from the terminal would consider itself interactive, so the
 * script comes to it through a pipe.
 */
export const terminalBootstrapCommand = `exec /bin/sh -c '${readTerminalHead} && OPSCONDUCTOR_ATTEMPT=$1 && export OPSCONDUCTOR_ATTEMPT && head -c $2 | /bin/sh'`;

export interface ScriptInput {
  marker: string;
  command: string;
  /** The shell that runs the command; default sh. */
  shell?: 'sh' | 'bash';
  /** The program that reads the command instead of a shell. */
  interpreter?: string;
  /** The command's input; default empty. */
  stdin?: string;
  /** Whether the shell is in a terminal, which passes on its input unchanged (raw mode). */
  pty?: boolean;
  /** Statements that the command's own shell runs first: they set the variables that the command refers to. */
  prelude?: readonly string[];
  workingDirectory?: string;
  environment?: Record<string, string>;
  limits?: TargetLimits;
  /** Statements that set OPSCONDUCTOR_OUTPUT, or fail. */
  outputFile?: readonly string[];
}

/** Limits that the target enforces. */
export interface TargetLimits {
  cpu_seconds?: number | undefined;
  memory_mb?: number | undefined;
  nice?: number | undefined;
}

/** Program names that may appear in a script unquoted. */
export const programPattern = /^[A-Za-z0-9/][A-Za-z0-9._+/-]*$/;

/** 128 + SIGXCPU: the shell's exit code for a process that used up its processor time. */
export const cpuLimitExitCode = 152;
/** A process that continues after SIGXCPU is killed after this much more processor time. */
const cpuGraceS = 5;

/**
 * Returns the line that `bootstrapCommand` reads first. Once it has, the second shell is running but has run nothing.
 */
export function markerLine(marker: string): string {
  if (!/^[\w.:-]+$/.test(marker)) throw new Error(`not a marker: ${marker}`);
  return `${marker}\n`;
}

function terminalHead(marker: string, scriptBytes: number): string {
  const head = `${markerLine(marker).trim()} ${scriptBytes}`;
  if (head.length > terminalHeadBytes) throw new Error(`too long a marker: ${marker}`);
  return head.padEnd(terminalHeadBytes);
}

/**
 * Returns the stdin of `bootstrapCommand`: the marker's line, then the script. The nonce begins the one line of stderr
 * that is the report to the agent. After the report the script waits for the word (`wordFor`) with the same nonce,
 * except in a terminal, where the script itself occupies the shell's input.
 *
 * @param how `isMarked`: whether the shell has been sent the marker's line; in a terminal the marker is sent in any
 * case. `needsMarker`: whether a shell that has not read the marker ends without a report. `asksLoginShell`: whether the
 * report also says which kind of login shell there is. Neither is for a terminal.
 */
export function attemptScript(
  input: ScriptInput,
  nonce: string,
  { isMarked = false, needsMarker = false, asksLoginShell = false } = {},
): Buffer {
  const say = (report: string) => `echo "${nonce} ${report}" >&2`;
  const script = Buffer.from(
    commandScript(
      input,
      say,
      input.pty === true ? {} : { inputAs: 3, needsMarker, asksLoginShell, afterReport: waitForWord(nonce) },
    ),
  );
  const ahead =
    input.pty === true ? terminalHead(input.marker, script.length) : isMarked ? '' : markerLine(input.marker);
  return Buffer.concat([Buffer.from(ahead), script]);
}

/**
 * Returns the word that the script waits for on stdin after its report. An agent that has not sent it knows that
 * nothing of the command ran. The wait also ensures that the report has been read before the command prints, so that
 * the report doesn't affect which of the two streams is read first.
 */
export function wordFor(nonce: string): string {
  return `${nonce}\n`;
}

/**
 * Any other line than the word starts nothing. A shell that reads its script ahead finds no more input before the word.
 */
function waitForWord(nonce: string): string[] {
  return [
    'read -r OPSCONDUCTOR_GO <&3 || exit 1',
    `[ "$OPSCONDUCTOR_GO" = ${nonce} ] || exit 1`,
    'unset OPSCONDUCTOR_GO',
    'exec 3<&-',
  ];
}

/**
 * Returns the script that the command's own shell reads. `say` makes the shell statement that sends a report to the
 * agent. `needsMarker`, `asksLoginShell`: see `attemptScript`. `afterReport` are statements between the report and the
 * command; for them the shell's input is kept as the descriptor `inputAs`.
 */
export function commandScript(
  input: ScriptInput,
  say: (report: string) => string,
  {
    inputAs,
    needsMarker = false,
    asksLoginShell = false,
    afterReport = [],
  }: {
    inputAs?: number;
    needsMarker?: boolean;
    asksLoginShell?: boolean;
    afterReport?: readonly string[];
  } = {},
): string {
  const lines = [
    // One compound command: a shell parses it up to the closing brace before it runs any of it. A script that a lost
    // connection cut short is thus a syntax error and runs nothing.
    '{',
    `exec ${inputAs === undefined ? '' : `${inputAs}<&0 `}</dev/null`,
    ...(needsMarker ? [`[ "$OPSCONDUCTOR_ATTEMPT" = ${quote(input.marker)} ] || exit 1`] : []),
    ...(asksLoginShell ? askLoginShell : []),
    ...setLimits(input.limits, say),
    ...enterDirectory(input.workingDirectory, say),
    // Two statements each, because the oldest shells don't know `export NAME=value`.
    ...Object.entries(input.environment ?? {}).map(
      ([name, value]) => `${name}=${quote(value)}; export ${name}`,
    ),
    `OPSCONDUCTOR_ATTEMPT=${quote(input.marker)}; export OPSCONDUCTOR_ATTEMPT`,
    ...(input.outputFile === undefined
      ? []
      : [...input.outputFile, `[ -n "$OPSCONDUCTOR_OUTPUT" ] || { ${say('output')}; exit 1; }`]),
    ...programNeeded(input, say),
    say(asksLoginShell ? 'start $$ $OPSCONDUCTOR_GO' : 'start $$'),
    ...afterReport,
    // The command is a literal word of the script: as an argument or variable it would be limited to 128 KiB.
    ...(input.pty === true ? cookedTerminal : []),
    ...runCommand(input),
    '}',
    '',
  ];
  return lines.join('\n');
}

/**
 * Sets the terminal up as a person would have it, but without echo, as nobody types. Behind su it is nobody's
 * controlling terminal, so there is no /dev/tty.
 */
const cookedTerminal = ['{ stty sane -echo </dev/tty || stty sane -echo <&1; } 2>/dev/null'];

/** Set before anything of the command runs. A limit that can't be set refuses the start. */
function setLimits(limits: TargetLimits | undefined, say: (report: string) => string): string[] {
  const set = (name: keyof TargetLimits, how: (value: number) => string) => {
    const value = limits?.[name];
    return value === undefined
      ? []
      : [`{ ${how(value)}; } 2>/dev/null || { ${say(`limit ${name}`)}; exit 1; }`];
  };
  return [
    ...set('nice', (value) => `renice -n ${value} -p $$ >/dev/null`),
    // The soft limit first: it may not be above the hard one.
    ...set('cpu_seconds', (value) => `ulimit -S -t ${value} && ulimit -H -t ${value + cpuGraceS}`),
    ...set('memory_mb', (value) => `ulimit -S -v ${value * 1024} && ulimit -H -v ${value * 1024}`),
  ];
}

/**
 * With a CPU limit, the command runs in a subshell, so that the first shell can report SIGXCPU, which SSH has no name
 * for.
 */
function runCommand(input: ScriptInput): string[] {
  const lines = linesOf(input);
  return input.limits?.cpu_seconds === undefined
    ? lines
    : ['trap : TERM HUP INT', '(', ...lines, ')', 'exit $?'];
}

function linesOf(input: ScriptInput): string[] {
  if (input.interpreter !== undefined) return interpretedLines(input, input.interpreter);
  return input.shell === 'bash' ? runInBash(input) : commandLines(input);
}

function programNeeded({ shell, interpreter }: ScriptInput, say: (report: string) => string): string[] {
  const program = interpreter ?? (shell === 'bash' ? shell : undefined);
  if (program === undefined) return [];
  if (!programPattern.test(program)) throw new Error(`not a program: ${program}`);
  return [`command -v ${program} >/dev/null 2>&1 || { ${say(`shell ${program}`)}; exit 1; }`];
}

function commandLines({ command, prelude = [], stdin }: ScriptInput): string[] {
  const run = `eval ${quote(command)}`;
  // The input is redirected for this command only: the shell that runs it must not read what the command leaves unread.
  return [...prelude, ...(stdin === undefined ? [run] : fedWith(run, stdin))];
}

/**
 * Runs an interpreter instead of the shell. It reads the text from stdin, or from descriptor 3 if there is an input.
 */
function interpretedLines({ command, stdin }: ScriptInput, interpreter: string): string[] {
  if (stdin === undefined) return fedWith(`exec ${interpreter} -`, command);
  return fedWith(`exec ${interpreter} /dev/fd/3`, stdin, command);
}

/** Feeds a command a here-document as its input, and another one on descriptor 3 if given. */
function fedWith(command: string, input: string, beside?: string): string[] {
  const end = endFor(`${input}\n${beside ?? ''}`);
  const document = (text: string, last: string) => [...(text === '' ? [] : [text.replace(/\n$/, '')]), last];
  return [
    `${command} <<'${end}'${beside === undefined ? '' : ` 3<<'${end}3'`}`,
    ...document(input, end),
    ...(beside === undefined ? [] : document(beside, `${end}3`)),
  ];
}

/** Returns a delimiter for a here-document that doesn't occur in its text. */
function endFor(text: string): string {
  let end = 'OPSCONDUCTOR_END';
  while (text.includes(end)) end += '_';
  return end;
}

/**
 * bash replaces the shell and reads the rest on its stdin. The rest is one compound command again, so that bash reads
 * it whole, and it comes as a here-document, because everybody can see arguments.
 */
function runInBash(input: ScriptInput): string[] {
  const lines = ['{', 'exec </dev/null', ...commandLines(input), '}'];
  return fedWith('exec bash', lines.join('\n'));
}

function enterDirectory(path: string | undefined, say: (report: string) => string): string[] {
  if (path === undefined) return [];
  const word = quote(path);
  return [
    `cd ${word} 2>/dev/null || {`,
    `if [ -d ${word} ]; then ${say('cd denied')}`,
    `elif [ -e ${word} ]; then ${say('cd file')}`,
    `else ${say('cd missing')}; fi`,
    'exit 1',
    '}',
  ];
}
