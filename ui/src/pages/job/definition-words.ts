// A job's definition in words: how a run goes through its hosts, and what happens if a step doesn't succeed.
import {
  defaultRetryReasons,
  type JobDefinition,
  limits,
  type RetryPolicy,
  type SshExecConfig,
  type StepDefinition,
  type Strategy,
  survivesAgentRestart,
} from '@opsconductor/protocol';
import { longDuration } from '../../format/duration.ts';
import { count, counted } from '../../format/quantity.ts';
import { reasonWord } from '../../format/status.ts';
import { lockWords } from '../run/summary/strategy-words.ts';

const seconds = (value: number) => longDuration(value * 1000);

/** How a run goes through its hosts, one sentence each; empty if all start at once and nothing holds them up. */
export function runRules({ strategy, locks }: Pick<JobDefinition, 'strategy' | 'locks'>): string[] {
  const rules = strategy === undefined ? [] : strategyRules(strategy);
  for (const lock of locks ?? [])
    rules.push(`Each host holds the lock ${lockWords(lock)}, from its first step to its end.`);
  return rules;
}

function strategyRules(strategy: Strategy): string[] {
  const { max_parallel: parallel, batches, order = 'selection', on_exceeded: onExceeded = 'stop' } = strategy;
  const rules: string[] = [];
  if (batches !== undefined) {
    const [last] = batches.slice(-1);
    const sizes = batches.map(share).join(', then ');
    rules.push(
      `In batches of ${sizes}${batches.length > 1 ? `, and ${share(last ?? 1)} from there on` : ''}: each opens when the previous one has ended.`,
    );
  }
  if (parallel !== undefined) rules.push(`At most ${counted(parallel, 'host')} at a time.`);
  if (order !== 'selection')
    rules.push(
      `Hosts in ${order === 'random' ? 'random order' : order === 'name' ? 'order of name' : 'reverse order of name'}.`,
    );
  rules.push(failureRule(strategy, onExceeded));
  return rules;
}

function failureRule(strategy: Strategy, onExceeded: 'stop' | 'continue'): string {
  const { max_failures: most, batch_max_failures: ofBatch } = strategy;
  const limitsOf: string[] = [];
  if (most !== undefined || ofBatch === undefined) limitsOf.push(tolerance(most ?? 0));
  if (ofBatch !== undefined) limitsOf.push(`${tolerance(ofBatch)} per batch`);
  const then =
    onExceeded === 'stop'
      ? 'beyond that, no further host starts'
      : 'beyond that, the run continues but ends failed';
  return `Tolerates ${limitsOf.join(', and ')}; ${then}.`;
}

function tolerance(value: number | string): string {
  if (value === 0 || value === '0%') return 'no failure';
  return typeof value === 'number' ? counted(value, 'failure') : `failures on ${value} of the hosts`;
}

function share(value: number | string): string {
  return typeof value === 'number' ? count(value) : value;
}

/** When a step runs, and what happens if it doesn't succeed; empty if the step doesn't say. */
export function stepRules(step: StepDefinition): string[] {
  const rules: string[] = [];
  if (step.when_status === 'failure')
    rules.push('Runs only when a step before it failed, timed out or was cancelled.');
  if (step.when_status === 'always') rules.push('Runs whether or not the steps before it succeeded.');
  if (step.retry !== undefined) rules.push(retryRule(step.retry));
  const unknown = unknownRule(step);
  if (unknown !== undefined) rules.push(unknown);
  if (step.idempotent === true) rules.push('Running it twice does no harm (idempotent).');
  return rules;
}

function retryRule({
  attempts,
  delay = 10,
  backoff = 2,
  max_delay: maxDelay = 3_600,
  on,
}: RetryPolicy): string {
  const growing = attempts > 2 && backoff > 1 && delay > 0;
  const pause =
    delay === 0
      ? 'at once'
      : growing
        ? `after ${seconds(delay)}, then ${backoff} times as long each time, at most ${seconds(Math.max(delay, maxDelay))}`
        : `after ${seconds(Math.min(delay, maxDelay))}`;
  const reasons = on ?? defaultRetryReasons;
  return `Tried up to ${attempts} times, again ${pause}, on ${reasons.map(reasonWord).join(', ')}.`;
}

function unknownRule({
  on_unknown: onUnknown,
  hold_for: holdFor = limits.holdForS,
}: StepDefinition): string | undefined {
  switch (onUnknown) {
    case 'hold':
      return `If nobody knows how it ended, it waits for a decision for ${seconds(holdFor)}.`;
    case 'retry':
      return 'If nobody knows how it ended, it is run again.';
    case 'fail':
      return 'If nobody knows how it ended, it ends unknown.';
    default:
      return undefined;
  }
}

export interface ConfigWords {
  field: string;
  name: string;
  value: string;
}

/** The configuration without the command, a few words for each setting. */
export function configWords(config: unknown): ConfigWords[] {
  const { command: _, ...rest } = Object(config) as Record<string, unknown>;
  return Object.entries(rest).map(([field, value]) => ({
    field,
    name: field.replaceAll('_', ' '),
    value: configValue(field, value, rest),
  }));
}

function configValue(name: string, value: unknown, config: Partial<SshExecConfig>): string {
  if (name === 'timeout' || name === 'kill_grace') return seconds(Number(value));
  if (name === 'survive_agent_restart')
    return survivesAgentRestart(config) ? 'yes: it continues without an agent' : 'no';
  if (Array.isArray(value)) return value.join(', ');
  if (typeof value === 'object' && value !== null) {
    const join = name === 'environment' ? '=' : ' ';
    return Object.entries(value)
      .map(
        ([key, part]) => `${name === 'environment' ? key : key.replaceAll('_', ' ')}${join}${String(part)}`,
      )
      .join(name === 'environment' ? ' ' : ', ');
  }
  return String(value);
}
