import { type Static, Type } from 'typebox';
import { noNulPattern } from './patterns.ts';
import { BecomeSchema } from './ssh-exec.ts';

/** Configuration of a step of type `reboot`: restarts the target and waits until it is back. */
export const RebootConfigSchema = Type.Object(
  {
    command: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 4_096,
        pattern: noNulPattern,
        title: 'Command',
        description: 'Command that requests the restart; default: `shutdown -r now`',
        contentMediaType: 'text/x-shellscript',
      }),
    ),
    become: Type.Optional(BecomeSchema),
    timeout: Type.Optional(
      Type.Integer({
        minimum: 10,
        maximum: 86_400,
        default: 900,
        title: 'Timeout',
        description: 'For the whole restart, from the request until the target is back, in seconds',
      }),
    ),
  },
  { additionalProperties: false },
);
export type RebootConfig = Static<typeof RebootConfigSchema>;

export const defaultRebootCommand = 'shutdown -r now';
