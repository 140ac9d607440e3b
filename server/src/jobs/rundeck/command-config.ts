// How a command runs as a step, and how the values get into it.
import type { StepDefinition } from '@opsconductor/protocol';
import { isPowerShell, type Source } from './command-source.ts';
import { dataReference } from './log-data.ts';
import { placeholder, References, type Sources } from './references.ts';
import { Report } from './report.ts';

type Config = { command: string; shell?: string; environment?: Record<string, string> };

/**
 * Ways to pass values, tried in this order: where they stand in the text; the same, but with double quotes in place of
 * single ones around a value; and as arguments of a script in its own file, as Rundeck does it.
 */
export const manners = ['in place', 'in double quotes', 'from a file'] as const;
type Manner = (typeof manners)[number];

/** Returns whether the only problem is that a script splits its arguments, which is up to the script. */
export function isOnlySplit(source: Source, problems: readonly string[]): boolean {
  const isScript = source.kind === 'script' && source.args !== '';
  return isScript && problems.every((problem) => problem.includes('stands unquoted'));
}

export interface WrittenConfig {
  type: StepDefinition['type'];
  config: Config;
  problems: string[];
  /** What to report if this manner is chosen. */
  report: Report;
}

/** Writes the configuration in one manner, and says what is wrong with it. */
export function writeConfig(
  source: Exclude<Source, { kind: 'other' }>,
  path: string,
  { sources, isForWindows }: { sources: Omit<Sources, 'data'>; isForWindows: boolean },
  before: readonly { step: StepDefinition }[],
  manner: Manner,
): WrittenConfig {
  const report = new Report();
  const references = new References({ ...sources, data: (key) => dataReference(key, before) }, report);
  const at = `${path}${source.at}`;
  const rewrite = (text: string) => {
    if (manner !== 'in double quotes') return text;
    const { text: rewritten, isChanged } = doubleQuoted(text);
    if (isChanged)
      report.changed(
        at,
        'Single quotes around a Rundeck value became double quotes: a shell expands nothing in single quotes.',
      );
    return rewritten;
  };
  const config = configOf(source, at, { references, manner, rewrite, report, path });
  if (references.environment.size > 0) config.environment = Object.fromEntries(references.environment);
  return { type: isForWindows ? 'winrm.exec' : 'ssh.exec', config, problems: references.problems, report };
}

interface Writing {
  references: References;
  manner: Manner;
  rewrite: (text: string) => string;
  report: Report;
  path: string;
}

function configOf(source: Exclude<Source, { kind: 'other' }>, at: string, writing: Writing): Config {
  const { references, manner, rewrite, report, path } = writing;
  const { text } = source;
  references.readEnvironment(text, at);
  if (source.kind === 'exec') return { command: references.inCommand(rewrite(text), at, placeholder) };
  references.readEnvironment(source.args, `${path}.args`);
  const args = references.inCommand(rewrite(source.args), `${path}.args`, placeholder);
  if (source.kind === 'url') {
    report.changed(at, 'The target itself downloads the script, so it must be able to reach its address.');
    const url = references.inCommand(text, at, placeholder);
    return { command: fromFile(`curl -fsSL -o "$folder/rundeck-script" "${url}"`, args, source.interpreter) };
  }
  if (isPowerShell(source)) {
    if (args !== '') report.dropped(`${path}.args`, 'Arguments of a PowerShell script are not carried over.');
    return { command: references.inScript(text, at, placeholder) };
  }
  const shell = shellOf(source.interpreter, text);
  if (shell !== undefined && manner !== 'from a file') {
    const script = references.inScript(rewrite(text), at, placeholder);
    const [first = '', ...rest] = script.split('\n');
    const lines = first.startsWith('#!') ? rest : [first, ...rest];
    const options = shebangOptions(first);
    const head = [...(options === '' ? [] : [`set ${options}`]), ...(args === '' ? [] : [`set -- ${args}`])];
    const command = `${[...head, ...lines].join('\n').trimEnd()}\n`;
    return { command, ...(shell === 'bash' ? { shell } : {}) };
  }
  // In the text of another language, a filled-in value would be code.
  const filled = references.inScript(text, at, () => {
    references.problems.push(
      'a script that is not a shell script has a value in its text; let it read the environment instead.',
    );
    return '';
  });
  if (source.interpreter !== undefined && text.startsWith('#!') === false) {
    report.note(at, `The script is run by ${source.interpreter ?? ''}, as before.`);
  }
  return {
    command: fromFile(
      `cat > "$folder/rundeck-script" <<'${endMark(filled)}'\n${filled.replace(/\n$/, '')}\n${endMark(filled)}`,
      args,
      source.interpreter,
    ),
  };
}

/** Writes a script to its own file first, and runs it from there. */
function fromFile(make: string, args: string, interpreter: string | undefined): string {
  // Another user must be able to read the script.
  const open = /\b(sudo|su|runuser|doas)\b/.test(interpreter ?? '') ? 'chmod 755 "$folder"\n' : '';
  const run =
    interpreter === undefined
      ? `chmod 700 "$folder/rundeck-script"\n"$folder"/rundeck-script`
      : `${open}${interpreter} "$folder/rundeck-script"`;
  return [
    'folder=$(mktemp -d) || exit 1',
    `trap 'rm -rf "$folder"' EXIT`,
    `${make}${make.includes('\n') ? '' : ' || exit 1'}`,
    `${run}${args === '' ? '' : ` ${args}`}`,
    '',
  ].join('\n');
}

function endMark(text: string): string {
  for (let n = 1; ; n += 1) {
    const mark = n === 1 ? 'END_OF_SCRIPT' : `END_OF_SCRIPT_${n}`;
    if (!text.split('\n').includes(mark)) return mark;
  }
}

/** Returns the shell that reads a script; undefined for another language. */
function shellOf(interpreter: string | undefined, text: string): 'sh' | 'bash' | undefined {
  const line = interpreter ?? /^#!\s*(.*)/.exec(text)?.[1] ?? '/bin/sh';
  const name = /^(?:\/usr\/bin\/env\s+)?(?:\/\S*\/)?(sh|bash|dash|ash)(?:\s+-[a-z]+)*\s*$/.exec(
    line.trim(),
  )?.[1];
  if (name === undefined) return undefined;
  return name === 'bash' ? 'bash' : 'sh';
}

/** Returns the options of a shebang line: `-e` for `#!/bin/bash -e`. */
function shebangOptions(line: string): string {
  return /^#!.*?\b(?:sh|bash|dash|ash)((?:\s+-[a-z]+)+)\s*$/.exec(line)?.[1]?.trim() ?? '';
}

const inSingleQuotes = /'([^'\n]*(?:\$\{[a-z]+\.[^}]{1,200}\}|@[a-z]+\.[\w.:-]+@)[^'\n]*)'/g;

/** Replaces single quotes around a reference with double ones, unless other characters in them have a meaning there. */
function doubleQuoted(text: string): { text: string; isChanged: boolean } {
  let isChanged = false;
  const changed = text.replaceAll(inSingleQuotes, (whole, inner: string) => {
    if (/["`\\!]|\$(?!\{[a-z]+\.)/.test(inner)) return whole;
    isChanged = true;
    return `"${inner}"`;
  });
  return { text: changed, isChanged };
}
