// What a step comes to on one host, with the values someone tries: by the same renderer that the agent has.
import {
  type EffectiveSettings,
  type JobDefinition,
  type Preview,
  type RenderValues,
  readExpression,
  renderForPeople,
  type StepDefinition,
  scopeOf,
  type Target,
} from '@opsconductor/protocol';
import { settingWord, sourceWords } from '../../format/settings.ts';

export interface StepPreview {
  /** The script, with values in it. */
  command: string;
  /** Other texts that values were put into: name and text. */
  others: { name: string; text: string }[];
  values: Preview['values'];
  problems: { path: string; message: string }[];
  /** Whether its condition holds; undefined where it has none, or that is not known before. */
  runs: boolean | undefined;
  /** Why that is not known. */
  runsUnknown: string | undefined;
}

export interface PreviewOn {
  target: Target | undefined;
  parameters: Readonly<Record<string, unknown>>;
  job: { id: number; version: number };
  user: string;
  now: string;
}

export function previewStep(definition: JobDefinition, at: number, on: PreviewOn): StepPreview | undefined {
  const step = definition.steps[at];
  if (step === undefined) return undefined;
  const values = valuesOf(definition, on);
  const scope = scopeOf(definition, at);
  const rendered = renderForPeople(step, scope, values);
  const commandPath = `steps[${at}].config.command`;
  const { command = '', ...config } = Object(step.config) as Record<string, string>;
  const filledIn = rendered.fields
    .filter(({ path }) => path !== commandPath)
    .map(({ path, text }) => ({ name: path.replace(/^steps\[\d+\]\.config\.?/, ''), text }));
  // Where there is no command, these are what the step is about, with values in them or not.
  const paths = ['local_path', 'remote_path'].flatMap((name) => {
    const text = config[name];
    return typeof text !== 'string' || filledIn.some((one) => one.name === name) ? [] : [{ name, text }];
  });
  const others = [...paths, ...filledIn];
  return {
    command: rendered.fields.find(({ path }) => path === commandPath)?.text ?? command,
    others,
    values: rendered.values,
    problems: rendered.problems,
    ...conditionOf(definition, at, step, values),
  };
}

function valuesOf(
  definition: JobDefinition,
  { target, parameters, job, user, now }: PreviewOn,
): RenderValues {
  return {
    parameters,
    target: {
      name: target?.name ?? 'some-host',
      host: target?.host ?? '192.0.2.1',
      port: target?.effective.port ?? 22,
      os: target?.operatingSystem ?? null,
      segment: target?.segmentName ?? 'some-segment',
      labels: target?.labels ?? {},
    },
    run: { id: 1, created_at: now, created_by: user },
    job: { id: job.id, name: definition.name, version: job.version },
    steps: {},
  };
}

function conditionOf(
  definition: JobDefinition,
  at: number,
  step: StepDefinition,
  values: RenderValues,
): Pick<StepPreview, 'runs' | 'runsUnknown'> {
  if (step.when === undefined || step.when === '') return { runs: undefined, runsUnknown: undefined };
  const { steps } = scopeOf(definition, at);
  const scope = { parameters: definition.parameters ?? {}, onTarget: { steps } };
  const read = readExpression(step.when, scope);
  if (!('expression' in read)) return { runs: undefined, runsUnknown: undefined };
  if (read.expression.names.some((name) => name.startsWith('steps.')))
    return { runs: undefined, runsUnknown: 'It depends on what steps before it find.' };
  const result = read.expression.evaluate({ ...values });
  return result.ok
    ? { runs: result.value, runsUnknown: undefined }
    : { runs: undefined, runsUnknown: result.message };
}

export interface ShownSetting {
  name: string;
  value: string;
  source: string;
  problem?: string | undefined;
}

/** Settings of the host as they stand for this step: what the step and the job say stands before all else. */
export function settingsFor(
  effective: EffectiveSettings,
  job: JobDefinition,
  step: StepDefinition,
): ShownSetting[] {
  const shown = effective.settings.map(({ name, display, source, problem }): ShownSetting => {
    const own = Object(step.connection)[name] as unknown;
    const ofJob = Object(job.connection)[name] as unknown;
    const told = own ?? ofJob;
    if (told === undefined)
      return {
        name: settingWord(name),
        value: display,
        source: sourceWords(source),
        problem: problem ?? undefined,
      };
    const unit = name === 'connect_timeout' || name === 'keepalive_interval' ? ' s' : '';
    return {
      name: settingWord(name),
      value: `${String(told)}${unit}`,
      source: own === undefined ? 'this job' : 'this step',
    };
  });
  return shown;
}
