// The text that runs a command on a target. It travels on stdin, since arguments are seen by every user of the host
// and are limited to 128 KiB each.
import { quote } from '../../ssh/quote.ts';

/**
 * What the login shell is asked to run, whatever shell that is (sh, csh, fish: no `!`, no backslash, no newline).
 * The first line of stdin becomes the environment variable that marks the attempt's processes, from the first one
 * on; a second shell reads the rest, since a process's own environment is shown as it was at its start.
 */
export const bootstrapCommand =
  "exec /bin/sh -c 'read -r OPSCONDUCTOR_ATTEMPT && export OPSCONDUCTOR_ATTEMPT && exec /bin/sh'";

/**
 * The same in a terminal, where a shell that reads the script itself would take itself for a person's: it is handed on by
 * a pipe, as many bytes as the second line says.
 */
export const terminalBootstrapCommand =
  "exec /bin/sh -c 'read -r OPSCONDUCTOR_ATTEMPT && export OPSCONDUCTOR_ATTEMPT && read -r n && head -c $n | /bin/sh'";

export interface ScriptInput {
  marker: string;
  command: string;
  /** What runs the command; sh unless told. */
  shell?: 'sh' | 'bash';
  /** What reads the command in place of a shell. */
  interpreter?: string;
  /** What the command reads; nothing unless told. */
  stdin?: string;
  /** The shell is in a terminal, which passes on what it is sent as it is. */
  pty?: boolean;
  /** Statements ahead of the command, in its own shell: the variables that it refers to. */
  prelude?: readonly string[];
  workingDirectory?: string;
  environment?: Record<string, string>;
  limits?: TargetLimits;
  /** Statements that set OPSCONDUCTOR_OUTPUT, or fail. */
  outputFile?: readonly string[];
}

/** Limits that the target keeps. */
export interface TargetLimits {
  cpu_seconds?: number | undefined;
  memory_mb?: number | undefined;
  nice?: number | undefined;
}

/** What may stand in a script as the name of a program. */
export const programPattern = /^[A-Za-z0-9/][A-Za-z0-9._+/-]*$/;

/** 128 + SIGXCPU: what a shell tells of a process that used up its processor time. */
export const cpuLimitExitCode = 152;
/** A process that goes on after SIGXCPU is killed after so many seconds more of processor time. */
const cpuGraceS = 5;

/** The first line that `bootstrapCommand` reads; after it its second shell is there and has run nothing. */
export function markerLine(marker: string): string {
  if (!/^[\w.:-]+$/.test(marker)) throw new Error(`not a marker: ${marker}`);
  return `${marker}\n`;
}

/**
 * The stdin of `bootstrapCommand`: the marker's line, then the script. The nonce opens the one line on stderr that is a report
 * to the agent. After it the command waits for `goAhead` of the same nonce; not in a terminal, whose input is what the script
 * came by.
 */
export function attemptScript(input: ScriptInput, nonce: string): Buffer {
  const say = (report: string) => `echo "${nonce} ${report}" >&2`;
  const script = Buffer.from(
    commandScript(input, say, input.pty === true ? {} : { inputAs: 3, afterReport: waitForGoAhead(nonce) }),
  );
  const ahead = markerLine(input.marker) + (input.pty === true ? `${script.length}\n` : '');
  return Buffer.concat([Buffer.from(ahead), script]);
}

/**
 * What the command waits for on stdin after its report. Before that nothing of it runs, so an agent that has not sent it knows
 * that nothing did; and the report has been read off its stream before the command prints, so that it has no part in which of
 * both streams is read first.
 */
export function goAhead(nonce: string): string {
  return `${nonce}\n`;
}

/** A shell that reads a script ahead has nothing to read before the word is sent. Any other line begins nothing. */
function waitForGoAhead(nonce: string): string[] {
  return [
    'read -r OPSCONDUCTOR_GO <&3 || exit 1',
    `[ "$OPSCONDUCTOR_GO" = ${nonce} ] || exit 1`,
    'unset OPSCONDUCTOR_GO',
    'exec 3<&-',
  ];
}

/**
 * What the command's own shell reads. `say` is the shell's text that tells the agent a report; `afterReport` statements before
 * the command, for which the shell's input is kept as the descriptor `inputAs`.
 */
export function commandScript(
  input: ScriptInput,
  say: (report: string) => string,
  { inputAs, afterReport = [] }: { inputAs?: number; afterReport?: readonly string[] } = {},
): string {
  const lines = [
    // One compound command: a shell parses it to its closing brace before it runs any of it, so that a script cut
    // short by a lost connection is a syntax error and runs nothing.
    '{',
    `exec ${inputAs === undefined ? '' : `${inputAs}<&0 `}</dev/null`,
    ...setLimits(input.limits, say),
    ...enterDirectory(input.workingDirectory, say),
    // Two statements each: the oldest shells know no `export NAME=value`.
    ...Object.entries(input.environment ?? {}).map(
      ([name, value]) => `${name}=${quote(value)}; export ${name}`,
    ),
    `OPSCONDUCTOR_ATTEMPT=${quote(input.marker)}; export OPSCONDUCTOR_ATTEMPT`,
    ...(input.outputFile === undefined
      ? []
      : [...input.outputFile, `[ -n "$OPSCONDUCTOR_OUTPUT" ] || { ${say('output')}; exit 1; }`]),
    ...programNeeded(input, say),
    say('start $$'),
    ...afterReport,
    // A literal word: no variable, no argument and no 128 KiB limit stands between the command and its shell.
    ...(input.pty === true ? cookedTerminal : []),
    ...runCommand(input),
    '}',
    '',
  ];
  return lines.join('\n');
}

/** As a person has it, but that nobody types: nothing is echoed. */
const cookedTerminal = ['stty sane -echo </dev/tty 2>/dev/null'];

/** Before anything of the command; what can't be set refuses the start. */
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

/** A shell of its own where the first must be there to tell how it ended: SSH has no name for SIGXCPU. */
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
  // Of this one command only: what it leaves unread must not be read by the shell that runs it.
  return [...prelude, ...(stdin === undefined ? [run] : fedWith(run, stdin))];
}

/** An interpreter in place of the shell. Where the command has input of its own, its text comes beside that. */
function interpretedLines({ command, stdin }: ScriptInput, interpreter: string): string[] {
  if (stdin === undefined) return fedWith(`exec ${interpreter} -`, command);
  return fedWith(`exec ${interpreter} /dev/fd/3`, stdin, command);
}

/** A command with a here-document as its input, and another one on descriptor 3 where that is given. */
function fedWith(command: string, input: string, beside?: string): string[] {
  const end = endFor(`${input}\n${beside ?? ''}`);
  const document = (text: string, last: string) => [...(text === '' ? [] : [text.replace(/\n$/, '')]), last];
  return [
    `${command} <<'${end}'${beside === undefined ? '' : ` 3<<'${end}3'`}`,
    ...document(input, end),
    ...(beside === undefined ? [] : document(beside, `${end}3`)),
  ];
}

/** A word that ends a here-document of this text: no part of it. */
function endFor(text: string): string {
  let end = 'OPSCONDUCTOR_END';
  while (text.includes(end)) end += '_';
  return end;
}

/**
 * bash takes the place of the shell and reads the rest by its standard input: whole, since it is one compound command
 * again, and from a here-document, since arguments are seen by everybody.
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
