// Converts Rundeck's commands to steps. A value that can't safely stand where Rundeck puts it is passed in the
// environment. If that doesn't help either, the step becomes a stand-in that fails, says what to do, and contains the
// old text.
import { checkDefinition, type Parameters, type StepDefinition } from '@opsconductor/protocol';
import { isOnlySplit, manners, writeConfig } from './command-config.ts';
import { isPowerShell, nameOf, sourceOf } from './command-source.ts';
import { type LogDataContext, outputsOf } from './log-data.ts';
import { asBoolean, asDescription, asName, asObject, asText, type Loose } from './loose.ts';
import type { Sources } from './references.ts';

export interface ConvertedStep {
  step: StepDefinition;
  /** Path in Rundeck's job. */
  path: string;
  /** Whether the step is a stand-in, which only says what could not be carried over, and fails. */
  isStandIn: boolean;
}

export interface CommandContext extends LogDataContext {
  sources: Omit<Sources, 'data'>;
  parameters: Parameters;
  keepsGoing: boolean;
  /** Whether a command of the job is PowerShell: the targets are then reached by WinRM, in all steps. */
  isForWindows: boolean;
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
  const source = sourceOf(command);
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
    const tried = writeConfig(source, path, context, before, manner);
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
