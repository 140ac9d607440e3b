// The attempts of a step, each with its end.
import { type Static, Type } from 'typebox';
import { cleanUpFindings } from '../../agent/agent-messages.ts';
import { Epoch } from '../../agent/message-parts.ts';
import { attemptOutcomes } from '../../outcome.ts';
import { outputStateMeaning, outputStates } from '../../states.ts';
import { Nullable, Timestamp } from '../schema-parts.ts';
import { endFields, leftFields, SurvivorSchema } from './attempt-end.ts';
import { decisions } from './decisions.ts';

export const AttemptSchema = Type.Object({
  attempt: Epoch,
  number: Type.Optional(
    Type.Integer({ description: 'Which of the attempts of the step it is, from 1 on, without gaps' }),
  ),
  status: Type.Enum(['running', ...attemptOutcomes]),
  agentName: Nullable(Type.String()),
  leasedAt: Nullable(Timestamp),
  startedAt: Nullable(Timestamp),
  endedAt: Nullable(Timestamp),
  ...endFields,
  message: Nullable(Type.String()),
  advice: Nullable(Type.String()),
  ...leftFields,
  outputState: Type.Enum(outputStates, { description: outputStateMeaning }),
  outputBytes: Type.Integer(),
  /** What its agent reported after the attempt had been given up. */
  late: Nullable(Type.Object({ status: Type.String(), at: Timestamp })),
  decision: Nullable(
    Type.Object({ decision: Type.Enum(decisions), note: Type.String(), by: Type.String(), at: Timestamp }),
  ),
  /** For an attempt that was cut off: whether an agent has looked for what it left on the target. */
  cleanUp: Nullable(
    Type.Object({
      state: Type.Enum(['waits', 'asked', 'done']),
      /** While it waits: the earliest time. */
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
