// Fields shared by the step types that run a command.
import { Type } from 'typebox';

export const commandTimeoutField = Type.Optional(
  Type.Integer({
    minimum: 1,
    maximum: 604_800,
    default: 300,
    title: 'Timeout',
    description: 'Counted from the start of the command, in seconds',
  }),
);

/** One of the step's `limits`. */
export const outputMbField = Type.Optional(
  Type.Integer({
    minimum: 1,
    maximum: 4_096,
    title: 'Output',
    description: 'Output that is kept, both streams together, in MiB',
  }),
);

export const onOutputLimitField = Type.Optional(
  Type.Enum(['truncate', 'stop'], {
    default: 'truncate',
    title: 'Too much output',
    description:
      'What happens to a command that prints more than is kept: it continues and the rest is discarded, or it is stopped and fails.',
  }),
);
