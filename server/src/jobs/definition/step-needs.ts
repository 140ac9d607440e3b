// What an agent must be able to do to be given a step, beyond what agents of the first version can do.
import type { AgentCapability, JobDefinition } from '@opsconductor/protocol';

/** A capability, or the name of a step type. */
export type StepNeed = AgentCapability | (string & {});

const firstStepType = 'ssh.exec';
const known = new WeakMap<object, readonly (readonly StepNeed[] | null)[]>();

/** Returns the needs of each step by its number minus one, each list sorted; null for a step that any agent can run. */
export function stepNeedsOf(
  definition: Pick<JobDefinition, 'steps' | 'parameters' | 'detect_secrets'>,
): readonly (readonly StepNeed[] | null)[] {
  const before = known.get(definition);
  if (before !== undefined) return before;
  // A step may print a secret that it was never given, so secrets are masked in every step of the run.
  const hasSecrets = Object.values(definition.parameters ?? {}).some(({ secret }) => secret === true);
  let handsOnSecrets = false;
  const needs = definition.steps.map(({ type, config, when, outputs }) => {
    const list: StepNeed[] = [];
    if (hasSecrets || handsOnSecrets || hasPlaceholder(config)) list.push('render');
    if (when !== undefined) list.push('conditions');
    if (outputs !== undefined) list.push('outputs');
    if (definition.detect_secrets === true) list.push('detect_secrets');
    const { file, artifact } = config as { file?: unknown; artifact?: unknown };
    if (file !== undefined || artifact === true) list.push('server_files');
    if (type !== firstStepType) list.push(type);
    const { shell, become, interpreter, stdin, pty, run_as, limits, on_output_limit, run_as_credential } =
      Object(config) as Record<string, unknown>;
    if (shell === 'bash') list.push('bash');
    const winrmOptions = [stdin, limits, on_output_limit, run_as_credential];
    if (type === 'winrm.exec') {
      if (winrmOptions.some((option) => option !== undefined)) list.push('winrm_options');
    } else if (interpreter !== undefined || stdin !== undefined || pty !== undefined) {
      list.push('interpreters');
    }
    if (become !== undefined) list.push(movesFiles(type) ? 'become_transfers' : 'become');
    if (run_as !== undefined) list.push('run_as');
    handsOnSecrets ||= Object.values(outputs ?? {}).some(({ secret }) => secret === true);
    return list.length === 0 ? null : list.sort();
  });
  known.set(definition, needs);
  return needs;
}

/** Whether a step type moves files over SSH. */
export function movesFiles(type: string): boolean {
  return type.startsWith('sftp.') || type === 'ssh.copy';
}

/** Returns whether one of its texts has a placeholder, or the escape for a literal one. */
function hasPlaceholder(config: unknown): boolean {
  if (typeof config === 'string') return config.includes('${{');
  if (typeof config !== 'object' || config === null) return false;
  return Object.values(config).some(hasPlaceholder);
}
