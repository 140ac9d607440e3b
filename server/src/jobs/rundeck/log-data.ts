// Data that Rundeck's log filters read from the output of a step, for later steps: outputs of the step.
import { limits, type StepDefinition, type StepOutput } from '@opsconductor/protocol';
import { asList, asObject, asText, type Loose } from './loose.ts';
import type { Report } from './report.ts';

export interface LogDataContext {
  report: Report;
  /** Keys of log data that the job refers to. */
  dataKeys: ReadonlySet<string>;
  /** Log filters that apply to all commands. */
  filters: readonly { filter: Loose; path: string }[];
}

/** Log filters that read data from the output become outputs, for the keys that the job refers to. */
export function outputsOf(
  command: Loose,
  path: string,
  context: LogDataContext,
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
export function dataReference(key: string, before: readonly { step: StepDefinition }[]): string | undefined {
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
