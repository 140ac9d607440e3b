// Converts a job as Rundeck exports it, in YAML or JSON, to a definition; reports what could not be carried over or was
// changed, by path.
import {
  type ErrorDetail,
  type JobDefinition,
  type JobState,
  type Labels,
  limits,
  type StepDefinition,
} from '@opsconductor/protocol';
import { usesPowerShell } from './command-source.ts';
import { type CommandContext, type ConvertedStep, convertCommand } from './commands.ts';
import { dataKeysOf } from './log-data.ts';
import { asBoolean, asDescription, asList, asName, asObject, asText, type Loose } from './loose.ts';
import { convertOptions } from './options.ts';
import { Report, type RundeckFinding } from './report.ts';
import {
  convertLogLimit,
  convertNodes,
  convertRetry,
  convertTimeout,
  stepTimeout,
  tellNotifications,
  tellRest,
  tellSchedule,
} from './settings.ts';

export interface ConvertedJob {
  definition: JobDefinition | undefined;
  state: JobState | undefined;
  findings: RundeckFinding[];
  problems: ErrorDetail[];
  /** Returns the path in Rundeck's file that a path of the item (`definition.steps[0].config`) was made from. */
  sourceOf(path: string): string;
}

/**
 * Converts one job of a Rundeck export. What could not be carried over is reported; a job that can’t be converted is
 * refused with the reason, not with an exception.
 */
export function convertRundeckJob(value: unknown): ConvertedJob {
  const job = asObject(value);
  const commands = asList(asObject(job?.sequence)?.commands);
  const name = asName(asText(job?.name) ?? '');
  if (job === undefined || name === '') return refused('', 'This is not a Rundeck job: it has no name.');
  if (commands.length === 0)
    return refused('sequence', 'The job has no commands: `sequence.commands` is empty or missing.');
  const count = commands.length + commands.filter((one) => asObject(one)?.errorhandler !== undefined).length;
  if (count > limits.maxStepsPerJob) {
    const message = `The job has ${count} commands and error handlers; a job has at most ${limits.maxStepsPerJob} steps. Split it.`;
    return refused('sequence.commands', message);
  }
  const report = new Report();
  const { parameters, names, paths } = convertOptions(job.options, report);
  const steps = convertSteps(job, { parameters, options: names }, report);
  const description = asDescription(asText(job.description) ?? '', 10_000);
  const labels = labelsOf(job, report);
  const category = categoryOf(job, report);
  const strategy = convertNodes(job, report);
  const definition: JobDefinition = {
    name,
    ...(description === '' ? {} : { description }),
    ...(category === undefined ? {} : { category }),
    ...(Object.keys(labels).length === 0 ? {} : { labels }),
    ...(Object.keys(parameters).length === 0 ? {} : { parameters }),
    ...convertTimeout(job, report),
    ...(strategy === undefined ? {} : { strategy }),
    ...openRunsOf(job, report),
    steps: steps.map(({ step }) => step),
  };
  tellSchedule(job, report);
  tellNotifications(job, report);
  tellRest(job, report);
  tellUnknown(job, report);
  return {
    definition,
    state: stateOf(job, report),
    findings: report.findings,
    problems: [],
    sourceOf: (path) => sourceOf(path, steps, paths),
  };
}

function refused(path: string, message: string): ConvertedJob {
  return {
    definition: undefined,
    state: undefined,
    findings: [],
    problems: [{ path, message }],
    sourceOf: (one) => one,
  };
}

function convertSteps(
  job: Loose,
  { parameters, options }: Pick<CommandContext, 'parameters'> & { options: ReadonlyMap<string, string> },
  report: Report,
): ConvertedStep[] {
  const sequence = asObject(job.sequence) ?? {};
  const strategy = asText(sequence.strategy) ?? 'node-first';
  if (strategy !== 'node-first') {
    report.changed(
      'sequence.strategy',
      `Each target runs through all steps on its own; the strategy was ${strategy}.`,
    );
  }
  const filters = asList(asObject(sequence.pluginConfig)?.LogFilter).flatMap((one, n) => {
    const filter = asObject(one);
    return filter === undefined ? [] : [{ filter, path: `sequence.pluginConfig.LogFilter[${n}]` }];
  });
  const dataKeys = dataKeysOf(job.sequence);
  tellFilters(filters, dataKeys, report);
  const context: CommandContext = {
    report,
    sources: { options, parameters, group: asText(job.group), project: asText(job.project) },
    parameters,
    dataKeys,
    filters,
    keepsGoing: asBoolean(sequence.keepgoing),
    isForWindows: asList(sequence.commands).some(usesPowerShell),
  };
  const steps: ConvertedStep[] = [];
  for (const [n, command] of asList(sequence.commands).entries()) {
    steps.push(...convertCommand(command, `sequence.commands[${n}]`, context, steps));
  }
  const retry = convertRetry(job, report);
  const limit = convertLogLimit(job, report);
  const timeout = stepTimeout(job, report);
  return steps.map(({ step, path, isStandIn }) => ({
    path,
    isStandIn,
    step: {
      ...step,
      // If nothing was carried over, retrying would give the same result.
      ...(retry === undefined || isStandIn ? {} : { retry }),
      config: { ...(step.config as object), timeout, ...(step.type === 'ssh.exec' ? limit : {}) },
    } as StepDefinition,
  }));
}

function tellFilters(
  filters: readonly { filter: Loose; path: string }[],
  dataKeys: ReadonlySet<string>,
  report: Report,
): void {
  for (const { filter, path } of filters) {
    const type = asText(filter.type) ?? '';
    if (type !== 'key-value-data')
      report.dropped(
        path,
        `The log filter ${type} is left out: output is shown as it is, with secrets masked.`,
      );
    else if (dataKeys.size === 0)
      report.dropped(path, 'Nothing in the job uses what this log filter reads; it is left out.');
    else report.changed(path, `The log filter became an output of each step: ${[...dataKeys].join(', ')}.`);
  }
}

/** Rundeck refuses a second simultaneous execution of a job unless the job allows it. */
function openRunsOf(job: Loose, report: Report): Pick<JobDefinition, 'max_open_runs'> {
  if (!asBoolean(job.multipleExecutions)) return { max_open_runs: 1 };
  const given = asText(job.maxMultipleExecutions) ?? '';
  const most = Number(given);
  if (Number.isInteger(most) && most >= 1 && most <= limits.maxOpenRuns) return { max_open_runs: most };
  // Rundeck's 0 is no limit.
  if (most !== 0)
    report.dropped(
      'maxMultipleExecutions',
      `This is not a number from 1 to ${limits.maxOpenRuns}, so simultaneous runs are not limited.`,
    );
  return {};
}

function labelsOf(job: Loose, report: Report): Labels {
  const labels: Labels = {};
  const uuid = asText(job.uuid) ?? asText(job.id);
  if (uuid !== undefined) labels['rundeck-uuid'] = asName(uuid, 255);
  const project = asText(job.project);
  if (project !== undefined) labels['rundeck-project'] = asName(project, 255);
  const { tags } = job;
  const list = typeof tags === 'string' ? tags.split(',') : asList(tags);
  for (const tag of list) {
    const text = (asText(tag) ?? '').trim();
    if (text === '') continue;
    const name = text
      .replaceAll(/[^A-Za-z0-9_./-]+/g, '-')
      .replace(/^[^A-Za-z0-9]+/, '')
      .slice(0, 63)
      .replace(/[^A-Za-z0-9]+$/, '');
    if (name === '' || ['name', 'host', 'os', 'segment', 'group'].includes(name)) {
      report.dropped('tags', `The tag “${text}” is left out: a label can’t have this name.`);
      continue;
    }
    if (name !== text) report.changed('tags', `The tag “${text}” became the label ${name}.`);
    labels[name] = '';
  }
  return labels;
}

function categoryOf(job: Loose, report: Report): string | undefined {
  const group = asText(job.group);
  if (group === undefined) return undefined;
  const parts = group
    .split('/')
    .map((part) => asName(part, 60))
    .filter((part) => part !== '');
  const path = parts
    .slice(0, 8)
    .join('/')
    .slice(0, 200)
    .replace(/[\s/]+$/, '');
  if (path === '') return undefined;
  // Of a long one, the pattern would try each slash.
  if (group.length > 1_000 || path !== group.replaceAll(/^\/+|\/+$/g, ''))
    report.changed('group', `The group became the category ${path}.`);
  return path;
}

function stateOf(job: Loose, report: Report): JobState {
  const isEnabled = !('executionEnabled' in job) || asBoolean(job.executionEnabled);
  if (report.findings.some(({ kind }) => kind === 'left_out')) {
    report.note('', 'The job begins as a draft, because some of its steps must be rewritten.');
    return 'draft';
  }
  return isEnabled ? 'active' : 'inactive';
}

/** These only affect how Rundeck's own pages show a job. */
const ofPages = ['defaultTab', 'nodeFilterEditable', 'nodesSelectedByDefault', 'preserveOrder'];
const known = new Set([
  ...ofPages,
  ...['name', 'description', 'group', 'project', 'uuid', 'id', 'tags', 'options', 'sequence', 'nodefilters'],
  ...['schedule', 'schedules', 'scheduleEnabled', 'timeZone', 'notification', 'notifyAvgDurationThreshold'],
  ...[
    'timeout',
    'retry',
    'loglimit',
    'loglimitAction',
    'loglimitStatus',
    'loglevel',
    'plugins',
    'orchestrator',
  ],
  ...['multipleExecutions', 'maxMultipleExecutions', 'executionEnabled', 'filterExclude', 'excludeFilter'],
]);

function tellUnknown(job: Loose, report: Report): void {
  for (const key of Object.keys(job)) {
    if (!known.has(key)) report.dropped(key, `\`${asName(key, 60)}\` is unknown and is left out.`);
  }
  const sequence = asObject(job.sequence) ?? {};
  for (const key of Object.keys(sequence)) {
    if (['commands', 'keepgoing', 'strategy'].includes(key)) continue;
    if (key !== 'pluginConfig')
      report.dropped(`sequence.${key}`, `\`${asName(key, 60)}\` is unknown and is left out.`);
  }
  for (const key of Object.keys(asObject(sequence.pluginConfig) ?? {})) {
    if (key !== 'LogFilter')
      report.dropped(`sequence.pluginConfig.${key}`, `The settings of ${asName(key, 60)} are left out.`);
  }
}

function sourceOf(
  path: string,
  steps: readonly ConvertedStep[],
  parameters: ReadonlyMap<string, string>,
): string {
  const [, step] = /^definition\.steps\[(\d+)\]/.exec(path) ?? [];
  if (step !== undefined) return steps[Number(step)]?.path ?? 'sequence';
  const [, parameter] = /^definition\.parameters\.(\w+)/.exec(path) ?? [];
  if (parameter !== undefined) return parameters.get(parameter) ?? 'options';
  const [, field] = /^definition\.(\w+)/.exec(path) ?? [];
  const fields: Record<string, string> = {
    name: 'name',
    description: 'description',
    category: 'group',
    timeout: 'timeout',
    labels: 'tags',
  };
  return fields[field ?? ''] ?? '';
}
