// Held steps, and the decisions that people make about them.
import { type Static, Type } from 'typebox';
import { Epoch } from '../../agent/message-parts.ts';
import { Closed, Id, Nullable, Timestamp } from '../schema-parts.ts';

/** `succeeded`: it ran, continue. `failed`: it did not succeed. `retry`: run it again. `cancel`: give it up. */
export const decisions = ['succeeded', 'failed', 'retry', 'cancel'] as const;
export type Decision = (typeof decisions)[number];

export const DecideRequestSchema = Closed({
  decision: Type.Enum(decisions),
  /** Why. Kept with the attempt and in the audit log. */
  note: Type.String({ minLength: 1, maxLength: 1_000, pattern: '\\S' }),
  /**
   * Only these steps, as the caller saw them. Refused as a whole if one is no longer held or has a different attempt.
   */
  steps: Type.Optional(Type.Array(Closed({ id: Id, attempt: Epoch }), { minItems: 1, maxItems: 1_000 })),
  /** Only steps whose attempt this agent had. */
  agentName: Type.Optional(Type.String({ maxLength: 63 })),
  stepNumber: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000 })),
  /** Only steps held for this reason, such as `agent_silent`. */
  reason: Type.Optional(Type.String({ maxLength: 64 })),
  /** How many steps the caller saw; refused if the number has changed. */
  expected: Type.Optional(Type.Integer({ minimum: 1, maximum: 2_147_483_647 })),
});
export type DecideRequest = Static<typeof DecideRequestSchema>;
export const DecidedSchema = Type.Object({
  decided: Type.Integer({ description: 'Number of steps decided' }),
  stillHeld: Type.Integer({ description: 'Steps of the run that still wait for a decision' }),
});
export type Decided = Static<typeof DecidedSchema>;

/** Held steps that can be decided together: they have the same step, agent and reason. */
export const HeldGroupSchema = Type.Object({
  stepNumber: Type.Integer(),
  stepName: Type.String(),
  agentName: Nullable(Type.String()),
  reason: Nullable(Type.String()),
  count: Type.Integer({ description: 'Held steps, which equals the number of hosts that wait' }),
  /** What is known, in the words of one of the steps. */
  message: Nullable(Type.String()),
  heldUntil: Type.String({
    description: 'When the first of them ends `unknown` if nobody decides',
    maxLength: 40,
  }),
  /** What each decision leads to, in sentences. */
  consequences: Type.Object({
    succeeded: Type.String(),
    failed: Type.String(),
    retry: Type.String(),
    cancel: Type.String(),
  }),
  steps: Type.Array(
    Type.Object({
      id: Id,
      attempt: Epoch,
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
    description: 'Whether the caller may decide: this takes `run` on the job or on all targets of the run',
  }),
});
export type HeldSteps = Static<typeof HeldStepsSchema>;

/** Describes what each decision leads to, for the person who decides. */
export function decisionConsequences(of: {
  count: number;
  stepNumber: number;
  /** Later steps that run after a success, and those that run after a failure. */
  followers: number;
  cleaners: number;
  idempotent: boolean;
}): Record<Decision, string> {
  const { stepNumber, followers, cleaners, idempotent } = of;
  const hosts = of.count === 1 ? 'the host' : `${of.count} hosts`;
  const step = `Step ${stepNumber}`;
  const skipped =
    cleaners > 0
      ? `the ${plural(cleaners, 'step')} for a failure still ${cleaners === 1 ? 'runs' : 'run'}, steps that need a success are skipped`
      : followers > 0
        ? 'the steps after it are skipped'
        : 'nothing follows';
  const again = idempotent
    ? ''
    : ' The step does not say that running it twice does no harm: check the target first.';
  return {
    succeeded: `${step} counts as succeeded on ${hosts}; ${followers > 0 ? `${plural(followers, 'step')} still ${followers === 1 ? 'follows' : 'follow'}` : 'nothing follows'}.`,
    failed: `${step} counts as failed on ${hosts}; ${skipped}.`,
    retry: `${step} is run again on ${hosts}. The earlier attempt may still be running there: it is told to end, but nobody waits for that.${again}`,
    cancel: `${step} counts as cancelled on ${hosts}; ${skipped}.`,
  };
}

function plural(count: number, what: string): string {
  return count === 1 ? `one ${what}` : `${count} ${what}s`;
}
