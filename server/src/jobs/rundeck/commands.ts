// Converts Rundeck's commands to steps. A value that can't safely stand where Rundeck puts it is passed in the
// environment. If that doesn't help either, the step becomes a stand-in that fails, says what to do, and contains the
// old text.
import {
  checkDefinition,
  limits,
  type Parameters,
  type StepDefinition,
  type StepOutput,
} from '@opsconductor/protocol';
import { asBoolean, asDescription, asList, asName, asObject, asText, type Loose } from './loose.ts';
import { placeholder, References, type Sources } from './references.ts';
import { Report } from './report.ts';

export interface ConvertedStep {
  step: StepDefinition;
  /** Path in Rundeck's job. */
  path: string;
  /** Whether the step is a stand-in, which only says what could not be carried over, and fails. */
  isStandIn: boolean;
}

export interface CommandContext {
  report: Report;
  sources: Omit<Sources, 'data'>;
  parameters: Parameters;
  /** Keys of log data that the job refers to. */
  dataKeys: ReadonlySet<string>;
  /** Log filters that apply to all commands. */
  filters: readonly { filter: Loose; path: string }[];
  keepsGoing: boolean;
  /** Whether a command of the job is PowerShell: the targets are then reached by WinRM, in all steps. */
  isForWindows: boolean;
}

type Config = { command: string; shell?: string; environment?: Record<string, string> };

/** Returns whether the command, or its error handler, is a PowerShell script. */
export function usesPowerShell(value: unknown): boolean {
  const command = asObject(value);
  if (command === undefined) return false;
  const source = kindOf(command);
  return (isScript(source) && isPowerShell(source)) || usesPowerShell(command.errorhandler);
}

/** Converts a command and its error handler. */
export function convertCommand(
  value: unknown,
  path: string,
  context: CommandContext,
  before: readonly ConvertedStep[],
): ConvertedStep[] {
  const command = asObject(value) ?? {};
  const number = before.length + 1;
  const { step, isStandIn } = stepOf(command, path, context, before, number);
  if (context.keepsGoing && before.length > 0) {
    step.when_status = 'always';
    onlyWithData(step, path, context);
  }
  const steps = [{ step, path, isStandIn }];
  const handler = asObject(command.errorhandler);
  if (handler !== undefined)
    steps.push(handlerOf(handler, `${path}.errorhandler`, context, [...before, ...steps]));
  return steps;
}

function handlerOf(
  handler: Loose,
  path: string,
  context: CommandContext,
  before: readonly ConvertedStep[],
): ConvertedStep {
  const { step, isStandIn } = stepOf(handler, path, context, before, before.length + 1);
  const of = before.at(-1)?.step.name ?? '';
  if (handler.description === undefined) step.name = freeName(asName(`If that fails: ${of}`), before);
  step.when_status = 'failure';
  onlyWithData(step, path, context);
  context.report.changed(
    path,
    'The error handler is a step for failures: it also runs if an earlier step has failed.',
  );
  if (asBoolean(handler.keepgoingOnSuccess)) {
    context.report.dropped(
      `${path}.keepgoingOnSuccess`,
      'A handler that succeeds does not undo the failure: steps after it run only with when_status: always.',
    );
  }
  return { step, path, isStandIn };
}

/** A step that runs after a failure has what earlier steps handed on only if those ended well. */
function onlyWithData(step: StepDefinition, path: string, context: CommandContext): void {
  const text = JSON.stringify(step.config);
  const used = new Set([...text.matchAll(dataPlaceholder)].map(([, reference]) => reference));
  if (used.size === 0) return;
  step.when = [...used].map((reference) => `has(${reference})`).join(' && ');
  context.report.changed(path, 'It is skipped if the step whose data it uses has failed or was skipped.');
}

const dataPlaceholder = /(?<!\$)\$\{\{ (steps\.\w+\.outputs\.\w+) \}\}/g;

function stepOf(
  command: Loose,
  path: string,
  context: CommandContext,
  before: readonly ConvertedStep[],
  number: number,
): Pick<ConvertedStep, 'step' | 'isStandIn'> {
  const name = freeName(asName(asText(command.description) ?? nameOf(command) ?? `Step ${number}`), before);
  const source = kindOf(command);
  const outputs = outputsOf(command, path, context);
  const base = { name, ...(outputs === undefined ? {} : { id: freeId(before), outputs }) };
  for (const key of Object.keys(command).filter((one) => !knownKeys.has(one))) {
    context.report.dropped(`${path}.${key}`, `\`${key}\` of a command is unknown and is left out.`);
  }
  const leaveOut = (at: string, why: string) => {
    context.report.leftOut(at, `${why} The step fails until it is rewritten.`);
    return { step: { ...base, ...standIn(why, source.text, context) }, isStandIn: true };
  };
  if (source.kind === 'other') return leaveOut(`${path}${source.at}`, source.why);
  if (context.isForWindows && source.kind !== 'exec' && !isPowerShell(source))
    return leaveOut(`${path}${source.at}`, forWindows);
  if (context.isForWindows && source.kind === 'exec')
    context.report.changed(`${path}.exec`, 'PowerShell runs it, by WinRM, like the scripts of this job.');
  let first: string[] | undefined;
  for (const manner of manners) {
    if (manner === 'from a file' && !isOnlySplit(source, first ?? [])) continue;
    const tried = attempt(source, path, context, before, manner);
    const step = { ...base, type: tried.type, config: tried.config } as StepDefinition;
    const problems = tried.problems.length > 0 ? tried.problems : problemsOf(step, context, before);
    if (problems.length === 0) {
      context.report.take(tried.report);
      return { step, isStandIn: false };
    }
    first ??= problems;
  }
  return leaveOut(path, `A value can’t be filled in where Rundeck does: ${first?.[0] ?? ''}`);
}

const forWindows =
  'The job has PowerShell scripts, so its targets are reached by WinRM, and this is no PowerShell: rewrite it, or put it into a job of its own.';

const knownKeys = new Set([
  ...[
    'exec',
    'script',
    'scriptfile',
    'scripturl',
    'args',
    'scriptInterpreter',
    'interpreterArgsQuoted',
    'fileExtension',
  ],
  ...[
    'expandTokenInScriptFile',
    'passSecureInput',
    'autoSecureInput',
    'description',
    'errorhandler',
    'jobref',
    'type',
  ],
  ...['nodeStep', 'configuration', 'plugins', 'keepgoingOnSuccess', 'enabled'],
]);

// ------------------------------------------------------------------ what a command is

type ScriptSource = {
  kind: 'script' | 'url';
  text: string;
  args: string;
  interpreter: string | undefined;
  at: string;
};
type Source =
  | { kind: 'exec'; text: string; at: string }
  | ScriptSource
  | { kind: 'other'; text: string; why: string; at: string };

function kindOf(command: Loose): Source {
  const exec = asText(command.exec);
  if (exec !== undefined) return { kind: 'exec', text: exec, at: '.exec' };
  const args = asText(command.args) ?? '';
  const interpreter = asText(command.scriptInterpreter);
  const script = asText(command.script);
  if (script !== undefined)
    return { kind: 'script', text: script.replaceAll('\r\n', '\n'), args, interpreter, at: '.script' };
  const url = asText(command.scripturl);
  if (url !== undefined) return { kind: 'url', text: url, args, interpreter, at: '.scripturl' };
  const file = asText(command.scriptfile);
  if (file !== undefined) {
    const why = 'It ran a script that is on Rundeck’s own server.';
    return { kind: 'other', text: `${file} ${args}`.trim(), why, at: '.scriptfile' };
  }
  const jobref = asObject(command.jobref);
  if (jobref !== undefined) {
    const named = [asText(jobref.group), asText(jobref.name) ?? asText(jobref.uuid)].filter(
      (one) => one !== undefined,
    );
    const why = `It ran another job, ${named.join('/')}: put that job’s steps here, or start it by itself.`;
    return {
      kind: 'other',
      text: `${named.join('/')} ${asText(jobref.args) ?? ''}`.trim(),
      why,
      at: '.jobref',
    };
  }
  const type = asText(command.type);
  if (type !== undefined) {
    const text = JSON.stringify(command.configuration ?? {}, null, 2);
    return {
      kind: 'other',
      text: `${type}\n${text}`,
      why: `It was a step of Rundeck’s plugin ${type}.`,
      at: '.type',
    };
  }
  return { kind: 'other', text: '', why: 'It is not a known command.', at: '' };
}

function nameOf(command: Loose): string | undefined {
  const exec = asText(command.exec);
  if (exec !== undefined) return asName(exec.split('\n')[0] ?? '', 60);
  const jobref = asObject(command.jobref);
  if (jobref !== undefined) return asText(jobref.name) ?? undefined;
  const file = asText(command.scriptfile) ?? asText(command.scripturl);
  return file?.split('/').at(-1) ?? asText(command.type);
}

function freeName(name: string, before: readonly ConvertedStep[]): string {
  const taken = new Set(before.map(({ step }) => step.name));
  if (name !== '' && !taken.has(name)) return name;
  for (let n = 2; ; n += 1) {
    const next = `${asName(name || 'Step', 90)} (${n})`;
    if (!taken.has(next)) return next;
  }
}

function freeId(before: readonly ConvertedStep[]): string {
  return `step_${before.length + 1}`;
}

// ------------------------------------------------------------------ how values are passed

/**
 * Ways to pass values, tried in this order: where they stand in the text; the same, but with double quotes in place of
 * single ones around a value; and as arguments of a script in its own file, as Rundeck does it.
 */
const manners = ['in place', 'in double quotes', 'from a file'] as const;
type Manner = (typeof manners)[number];

/** Returns whether the only problem is that a script splits its arguments, which is up to the script. */
function isOnlySplit(source: Source, problems: readonly string[]): boolean {
  const isScript = source.kind === 'script' && source.args !== '';
  return isScript && problems.every((problem) => problem.includes('stands unquoted'));
}

interface Attempt {
  type: StepDefinition['type'];
  config: Config;
  problems: string[];
  /** What to report if this attempt is chosen. */
  report: Report;
}

function attempt(
  source: Exclude<Source, { kind: 'other' }>,
  path: string,
  { sources, isForWindows }: CommandContext,
  before: readonly ConvertedStep[],
  manner: Manner,
): Attempt {
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

function isPowerShell({ interpreter, text }: ScriptSource): boolean {
  return /\b(powershell|pwsh)(\.exe)?\b/i.test(interpreter ?? /^#!.*/.exec(text)?.[0] ?? '');
}

function isScript(source: Source): source is ScriptSource {
  return source.kind === 'script' || source.kind === 'url';
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

/** Returns the problems of a step that follows the given ones. */
function problemsOf(
  step: StepDefinition,
  { parameters }: CommandContext,
  before: readonly ConvertedStep[],
): string[] {
  // Of the steps before it only what it can refer to: checking their scripts each time takes too long.
  const { type } = step;
  const stubs = before.map(({ step: one }) => ({ ...one, type, config: { command: 'true' } }));
  const steps = [...stubs, step];
  const at = `steps[${stubs.length}].`;
  const problems = checkDefinition(structuredClone({ name: 'job', parameters, steps }));
  return problems.filter(({ path }) => path.startsWith(at)).map(({ message }) => message);
}

/** Returns a step that fails and says why, with the text that it stands for. */
function standIn(
  why: string,
  text: string,
  { isForWindows }: CommandContext,
): Pick<StepDefinition, 'type' | 'config'> {
  // PowerShell takes typographic ones for the same quote.
  const apostrophe = isForWindows ? '`' : '’';
  const said = asDescription(why, 1_000).replaceAll(isForWindows ? /['‘’‚‛\n]/g : /['\n]/g, (one) =>
    one === '\n' ? ' ' : apostrophe,
  );
  const lines = asDescription(text, 20_000)
    .split('\n')
    .map((line) => `# ${line}`.trimEnd());
  const command = [
    '# This step of Rundeck’s could not be carried over. It was:',
    ...lines,
    isForWindows ? `[Console]::Error.WriteLine('${said}')` : `printf '%s\\n' '${said}' >&2`,
    'exit 1',
    '',
  ].join('\n');
  return { type: isForWindows ? 'winrm.exec' : 'ssh.exec', config: { command } };
}

// ------------------------------------------------------------------ data of logs

/** Log filters that read data from the output become outputs, for the keys that the job refers to. */
function outputsOf(
  command: Loose,
  path: string,
  context: CommandContext,
): Record<string, StepOutput> | undefined {
  const own = asList(asObject(command.plugins)?.LogFilter).flatMap((one, n) => {
    const filter = asObject(one);
    return filter === undefined ? [] : [{ filter, path: `${path}.plugins.LogFilter[${n}]` }];
  });
  const outputs: Record<string, StepOutput> = {};
  for (const { filter, path: at } of [...own, ...context.filters]) {
    const isOwn = at.startsWith(path);
    const type = asText(filter.type) ?? '';
    if (type !== 'key-value-data') {
      if (isOwn)
        context.report.dropped(
          at,
          `The log filter ${type} is left out: output is shown as it is, with secrets masked.`,
        );
      continue;
    }
    const config = asObject(filter.config) ?? {};
    const made = [...context.dataKeys].flatMap((key) => {
      const pattern = patternFor(key, config);
      return pattern === undefined ? [] : [[identifierOf(key), { pattern, default: '' }] as const];
    });
    for (const [name, output] of made.slice(0, limits.maxOutputsPerStep)) outputs[name] = output;
    if (!isOwn) continue;
    if (made.length === 0)
      context.report.dropped(at, 'Nothing later in the job uses what this log filter reads; it is left out.');
    else
      context.report.changed(
        at,
        `The log filter became outputs of the step: ${made.map(([name]) => name).join(', ')}.`,
      );
  }
  return Object.keys(outputs).length === 0 ? undefined : outputs;
}

/** A longer one is no pattern here. */
const maxRegexChars = 2_000;
const usualPattern = '^RUNDECK:DATA:\\s*([^\\s]+?)\\s*=\\s*(.+)$';

/** Returns the pattern with the key in place of the group that captures it. */
function patternFor(key: string, config: Loose): string | undefined {
  const regex = asText(config.regex) ?? usualPattern;
  const literal = key.replaceAll(/[\\^$.*+?()[\]{}|]/g, '\\$&');
  const named = asText(config.name);
  if (named !== undefined) return named === key ? `(?m)${regex}` : undefined;
  const group = /(?<!\\)\((?!\?)(?:[^()\\[]|\\.|\[(?:[^\]\\]|\\.)*\])*\)/.exec(regex.slice(0, maxRegexChars));
  if (group === null) return undefined;
  return `(?m)${regex.slice(0, group.index)}${literal}${regex.slice(group.index + group[0].length)}`;
}

function identifierOf(key: string): string {
  return key
    .replaceAll(/\W/g, '_')
    .replace(/^(?![A-Za-z_])/, '_')
    .slice(0, 64);
}

/** Returns a reference to the nearest previous step that hands on the key. */
function dataReference(key: string, before: readonly ConvertedStep[]): string | undefined {
  const name = identifierOf(key);
  const step = before.findLast(({ step: one }) => {
    const { outputs = {} } = one;
    return Object.keys(outputs).some((each) => each.toLowerCase() === name.toLowerCase());
  })?.step;
  const output = Object.keys(step?.outputs ?? {}).find((each) => each.toLowerCase() === name.toLowerCase());
  return step?.id === undefined || output === undefined ? undefined : `steps.${step.id}.outputs.${output}`;
}

/** Returns the keys of log data that any text of the job refers to. */
export function dataKeysOf(value: unknown): Set<string> {
  const text = JSON.stringify(value ?? null);
  const keys = [
    ...text.matchAll(/\$\{(?:unquoted)?data\.([^}"]{1,200})\}|@data\.([\w.-]+)@|\bRD_DATA_([A-Z0-9_]+)\b/g),
  ];
  return new Set(keys.map(([, braced, at, variable]) => braced ?? at ?? variable?.toLowerCase() ?? ''));
}
