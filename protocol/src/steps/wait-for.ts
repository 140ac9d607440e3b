import { type Static, Type } from 'typebox';
import { noNulPattern } from './patterns.ts';
import { BecomeSchema } from './ssh-exec.ts';

/** Configuration of a step of type `wait_for`: of a port, of a command that ends well, or of a time. */
export const WaitForConfigSchema = Type.Object(
  {
    port: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 65_535,
        title: 'Port',
        description: 'Of the target, as it is seen from the agent or from the last jump host',
      }),
    ),
    state: Type.Optional(
      Type.Enum(['open', 'closed'], {
        // Not a default of the schema: that would be filled in where no port is waited for.
        title: 'State',
        description: 'Whether the port is to take connections, as it is unless told, or to take none',
      }),
    ),
    command: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 65_536,
        pattern: noNulPattern,
        title: 'Command',
        description: 'Run on the target again and again, until its exit code is 0',
        contentMediaType: 'text/x-shellscript',
      }),
    ),
    become: Type.Optional(BecomeSchema),
    seconds: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 86_400, title: 'Seconds', description: 'How long to wait' }),
    ),
    interval: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 3_600,
        default: 5,
        title: 'Interval',
        description: 'Between two looks, in seconds',
      }),
    ),
    timeout: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 604_800,
        default: 300,
        title: 'Timeout',
        description: 'After this it has not come, in seconds; longer than `seconds`',
      }),
    ),
  },
  { additionalProperties: false },
);
export type WaitForConfig = Static<typeof WaitForConfigSchema>;
