import { type Static, Type } from 'typebox';
import { noNulPattern } from './patterns.ts';
import { BecomeSchema } from './ssh-exec.ts';

/** Configuration of a step of type `wait_for`: waits for a port, for a command to succeed, or for a time. */
export const WaitForConfigSchema = Type.Object(
  {
    port: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 65_535,
        title: 'Port',
        description: 'Port of the target, as seen from the agent or from the last jump host',
      }),
    ),
    state: Type.Optional(
      Type.Enum(['open', 'closed'], {
        // Not a schema default: it would also be filled in for steps that don't wait for a port.
        title: 'State',
        description:
          'Whether to wait until the port accepts connections (the default) or until it accepts none',
      }),
    ),
    command: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 65_536,
        pattern: noNulPattern,
        title: 'Command',
        description: 'Run on the target repeatedly until its exit code is 0',
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
        description: 'Time between two checks, in seconds',
      }),
    ),
    timeout: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 604_800,
        default: 300,
        title: 'Timeout',
        description: 'After this the step fails, in seconds; must be longer than `seconds`',
      }),
    ),
  },
  { additionalProperties: false },
);
export type WaitForConfig = Static<typeof WaitForConfigSchema>;
