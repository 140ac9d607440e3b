// Renders a step for one host with values to try, with the same code as the server's preview.
import {
  defaultRebootCommand,
  type EffectiveSettings,
  type JobDefinition,
  madeUpTarget,
  previewStep,
  type RenderValues,
  type StepDefinition,
  type StepPreview,
  type Target,
} from '@opsconductor/protocol';
import { settingWord, sourceWords } from '../../format/settings.ts';

export interface ShownStep extends Pick<StepPreview, 'values' | 'problems' | 'runs' | 'waitsForSteps'> {
  /** The script with values filled in. */
  command: string;
  /** Other main settings of the step, and other texts with values filled in: name and text. */
  others: { name: string; text: string }[];
}

export interface PreviewOn {
  target: Target | undefined;
  parameters: Readonly<Record<string, unknown>>;
  job: { id: number; version: number };
  user: string;
  now: string;
}

export function showStep(definition: JobDefinition, at: number, on: PreviewOn): ShownStep | undefined {
  const preview = previewStep(definition, at, valuesOf(definition, on));
  if (preview === undefined) return undefined;
  const { fields, ...shown } = preview;
  const isCommand = ({ keys }: { keys: readonly string[] }) => keys.length === 1 && keys[0] === 'command';
  const { type, config: given } = Object(definition.steps[at]) as Partial<StepDefinition>;
  const unlessTold = type === 'reboot' ? defaultRebootCommand : '';
  const { command = unlessTold, ...config } = Object(given) as Record<string, string>;
  const filledIn = fields
    .filter((field) => !isCommand(field))
    .map(({ keys, text }) => ({ name: keys.join('.'), text }));
  // For steps without a command, these say what the step does, with or without values filled in.
  const about = ['local_path', 'file', 'remote_path', 'artifact', 'port', 'state', 'seconds'].flatMap(
    (name) => {
      const value = config[name];
      return value === undefined || filledIn.some((one) => one.name === name)
        ? []
        : [{ name, text: String(value) }];
    },
  );
  return {
    ...shown,
    command: fields.find(isCommand)?.text ?? command,
    others: [...about, ...filledIn],
  };
}

function valuesOf(
  definition: JobDefinition,
  { target, parameters, job, user, now }: PreviewOn,
): RenderValues {
  return {
    parameters,
    target:
      target === undefined
        ? madeUpTarget
        : {
            name: target.name,
            host: target.host,
            port: target.effective.port,
            os: target.operatingSystem,
            segment: target.segmentName,
            labels: target.labels,
          },
    run: { id: 1, created_at: now, created_by: user },
    job: { id: job.id, name: definition.name, version: job.version },
    steps: {},
  };
}

export interface ShownSetting {
  name: string;
  value: string;
  source: string;
  problem?: string | undefined;
}

/** Settings of the host as they apply to this step: the step's own value wins, then the job's. */
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

/**
 * Says which shell reads a step's command and which user it or a transfer runs as; empty if there is nothing to say.
 */
export function runsBy({ type, config }: { type?: unknown; config?: unknown }): string {
  const given = Object(config) as Record<string, unknown>;
  const { command, shell, interpreter, become, run_as: runAs, run_as_credential: credential } = given;
  const { method = 'sudo', user = 'root' } = Object(become) as { method?: unknown; user?: unknown };
  const asOther = typeof become === 'object' && become !== null ? `as ${user} by ${method}` : undefined;
  if (command === undefined && type !== 'reboot') return asOther ?? '';
  const reader = [interpreter, shell].find((one) => typeof one === 'string' && one !== '');
  const by = reader ?? (String(type).startsWith('winrm') ? 'powershell' : 'sh');
  if (typeof runAs === 'string') return `${by}, as the ${runAs}`;
  if (typeof credential === 'string') return `${by}, as the user of ${credential}`;
  return asOther === undefined ? `${by}` : `${by}, ${asOther}`;
}
