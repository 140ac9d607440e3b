// Held steps and what a person decides of them; and the attempts of a step.
import { type Static, Type } from 'typebox';
import { cleanUpFindings } from '../../agent/agent-messages.ts';
import { DetectionSchema } from '../../detections.ts';
import { attemptOutcomes } from '../../outcome.ts';
import { outputStateMeaning, outputStates } from '../../states.ts';
import { Closed, Id, Nullable, Timestamp } from '../common.ts';
import { SurvivorSchema } from './runs.ts';

/** succeeded: it ran, go on · failed: it did not · retry: run it again · cancel: give it up. */
export const decisions = ['succeeded', 'failed', 'retry', 'cancel'] as const;
export type Decision = (typeof decisions)[number];

const Attempt = Type.Integer({ minimum: 1, maximum: 2_147_483_647 });

export const DecideRequestSchema = Closed({
  decision: Type.Enum(decisions),
  /** Why: kept with the attempt and in the audit log. */
  note: Type.String({ minLength: 1, maxLength: 1_000, pattern: '\\S' }),
  /** These steps alone, as they were seen. Refused whole when one is not held any more, or with another attempt. */
  steps: Type.Optional(Type.Array(Closed({ id: Id, attempt: Attempt }), { minItems: 1, maxItems: 1_000 })),
  /** Held steps of attempts of this agent. */
  agentName: Type.Optional(Type.String({ maxLength: 63 })),
  stepNumber: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000 })),
  /** Held for this reason: `agent_silent`. */
  reason: Type.Optional(Type.String({ maxLength: 64 })),
  /** How many steps were seen: refused when it is another number by now. */
  expected: Type.Optional(Type.Integer({ minimum: 1 })),
});
export type DecideRequest = Static<typeof DecideRequestSchema>;
export const DecidedSchema = Type.Object({
  decided: Type.Integer({ description: 'Steps' }),
  stillHeld: Type.Integer({ description: 'Steps of the run that wait for a decision yet' }),
});
export type Decided = Static<typeof DecidedSchema>;

/** Held steps that one decision may be made for: of one step, one agent and one reason. */
export const HeldGroupSchema = Type.Object({
  stepNumber: Type.Integer(),
  stepName: Type.String(),
  agentName: Nullable(Type.String()),
  reason: Nullable(Type.String()),
  count: Type.Integer({ description: 'Held steps, which is how many hosts wait' }),
  /** What is known, in the words of one of them. */
  message: Nullable(Type.String()),
  heldUntil: Type.String({
    description: 'When the first of them ends `unknown` unless somebody decides',
    maxLength: 40,
  }),
  /** What each decision leads to, as sentences. */
  consequences: Type.Object({
    succeeded: Type.String(),
    failed: Type.String(),
    retry: Type.String(),
    cancel: Type.String(),
  }),
  steps: Type.Array(
    Type.Object({
      id: Id,
      attempt: Attempt,
      targetRunId: Id,
      targetName: Type.String(),
      heldUntil: Timestamp,
    }),
    { description: 'The first 100' },
  ),
});
export type HeldGroup = Static<typeof HeldGroupSchema>;
export const HeldStepsSchema = Type.Object({
  groups: Type.Array(HeldGroupSchema),
  mayDecide: Type.Boolean({
    description: 'Whether the caller may: with `run` on the job or all targets of the run',
  }),
});
export type HeldSteps = Static<typeof HeldStepsSchema>;

/** What each decision leads to, for a person who is to make it. */
export function decisionConsequences(of: {
  count: number;
  stepNumber: number;
  /** Steps after it that run after a success, and after a failure. */
  followers: number;
  cleaners: number;
  idempotent: boolean;
}): Record<Decision, string> {
  const { stepNumber, followers, cleaners, idempotent } = of;
  const hosts = of.count === 1 ? 'the host' : `${of.count} hosts`;
  const step = `Step ${stepNumber}`;
  const skipped =
    cleaners > 0
      ? `the ${plural(cleaners, 'step')} for a failure still ${cleaners === 1 ? 'runs' : 'run'}, what wants a success is skipped`
      : followers > 0
        ? 'the steps after it are skipped'
        : 'nothing follows';
  const again = idempotent
    ? ''
    : ' The step does not say that running it twice does no harm: look on the target first.';
  return {
    succeeded: `${step} counts as succeeded on ${hosts}; ${followers > 0 ? `${plural(followers, 'step')} still ${followers === 1 ? 'follows' : 'follow'}` : 'nothing follows'}.`,
    failed: `${step} counts as failed on ${hosts}; ${skipped}.`,
    retry: `${step} is run again on ${hosts}. What was begun may still be going on there: it is told to end, and not waited for.${again}`,
    cancel: `${step} counts as cancelled on ${hosts}; ${skipped}.`,
  };
}

function plural(count: number, what: string): string {
  return count === 1 ? `one ${what}` : `${count} ${what}s`;
}

// ---- attempts

export const AttemptSchema = Type.Object({
  attempt: Attempt,
  status: Type.Enum(['running', ...attemptOutcomes]),
  agentName: Nullable(Type.String()),
  leasedAt: Nullable(Timestamp),
  startedAt: Nullable(Timestamp),
  endedAt: Nullable(Timestamp),
  executionTimeMs: Nullable(Type.Integer()),
  /** Of a command that survives its agent, where its target can tell: processor time, and the most memory at a time. */
  cpuMs: Type.Optional(Nullable(Type.Integer())),
  peakMemoryBytes: Type.Optional(Nullable(Type.Integer())),
  exitCode: Nullable(Type.Integer()),
  signal: Nullable(Type.String()),
  reason: Nullable(Type.String()),
  message: Nullable(Type.String()),
  advice: Nullable(Type.String()),
  survivors: Type.Array(SurvivorSchema),
  /** What was masked in its output for its form alone: nobody had named it. */
  detections: Type.Optional(Type.Array(DetectionSchema)),
  outputState: Type.Enum(outputStates, { description: outputStateMeaning }),
  outputBytes: Type.Integer(),
  /** What its agent has reported after the attempt had been given up. */
  late: Nullable(Type.Object({ status: Type.String(), at: Timestamp })),
  decision: Nullable(
    Type.Object({ decision: Type.Enum(decisions), note: Type.String(), by: Type.String(), at: Timestamp }),
  ),
  /** Of an attempt that was cut off: whether an agent has looked for what it left on the target. */
  cleanUp: Nullable(
    Type.Object({
      state: Type.Enum(['waits', 'asked', 'done']),
      /** Of one that waits: not before then. */
      due: Type.Optional(Timestamp),
      found: Nullable(Type.Enum(cleanUpFindings)),
      survivors: Type.Array(SurvivorSchema),
      at: Nullable(Timestamp),
    }),
  ),
});
export type Attempt = Static<typeof AttemptSchema>;
export const AttemptsSchema = Type.Object({ items: Type.Array(AttemptSchema) });
export type Attempts = Static<typeof AttemptsSchema>;
