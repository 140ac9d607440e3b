import { type Static, Type } from 'typebox';
import { namePattern } from '../api/text.ts';
import { commandTimeoutField, onOutputLimitField, outputMbField } from './command-fields.ts';
import { noNulPattern, windowsDirectoryPattern, windowsVariablePattern } from './patterns.ts';

const WinrmLimits = Type.Object(
  {
    memory_mb: Type.Optional(
      Type.Integer({
        minimum: 64,
        maximum: 16_777_216,
        title: 'Memory',
        description: 'For the command and everything that it starts, in MiB. Requests for more memory fail',
      }),
    ),
    priority: Type.Optional(
      Type.Enum(['below_normal', 'idle'], {
        title: 'Priority',
        description: 'How much the command yields to others; by default not at all',
      }),
    ),
    output_mb: outputMbField,
  },
  {
    additionalProperties: false,
    minProperties: 1,
    title: 'Limits',
    description:
      'Resources that the command may use. A host that can’t enforce a limit refuses the command before it starts.',
  },
);

/** Configuration of a step of type `winrm.exec`: a PowerShell or cmd command on the target. */
export const WinrmExecConfigSchema = Type.Object(
  {
    command: Type.String({
      minLength: 1,
      maxLength: 131_072,
      pattern: noNulPattern,
      title: 'Command',
      description: 'May have many lines',
      contentMediaType: 'text/x-powershell',
    }),
    shell: Type.Optional(
      Type.Enum(['powershell', 'pwsh', 'cmd'], {
        default: 'powershell',
        title: 'Shell',
        description: 'Program that reads the command: Windows PowerShell, PowerShell 7 or newer, or cmd.exe',
      }),
    ),
    stdin: Type.Optional(
      Type.String({
        maxLength: 131_072,
        pattern: noNulPattern,
        title: 'Standard input',
        description:
          'Input of the command: in PowerShell the lines of $input, in a batch file its standard input; by default empty',
      }),
    ),
    timeout: commandTimeoutField,
    working_directory: Type.Optional(
      Type.String({
        maxLength: 4096,
        pattern: windowsDirectoryPattern,
        title: 'Working directory',
        description: 'Absolute path; default: the user’s profile',
      }),
    ),
    environment: Type.Optional(
      Type.Record(
        Type.String({ pattern: windowsVariablePattern }),
        Type.String({ maxLength: 32_767, pattern: noNulPattern }),
        {
          additionalProperties: false,
          maxProperties: 1000,
          title: 'Environment',
          description: 'Environment variables of the command, by name',
        },
      ),
    ),
    expected_exit_codes: Type.Optional(
      Type.Array(Type.Integer({ minimum: -2_147_483_648, maximum: 4_294_967_295 }), {
        minItems: 1,
        maxItems: 256,
        uniqueItems: true,
        default: [0],
        title: 'Expected exit codes',
        description: 'Exit codes that count as success',
      }),
    ),
    run_as: Type.Optional(
      Type.Enum(['system'], {
        title: 'Run as',
        description:
          'system: runs as a scheduled task of the host, for things that a remote logon may not do, such as installing updates; it continues while no agent is connected. Needs an administrator. Default: the login user.',
      }),
    ),
    run_as_credential: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 100,
        pattern: namePattern,
        title: 'Run as user',
        description:
          'Name of a WinRM password of the target’s segment: the command runs as its user, as a scheduled task. The host is given the password, which the credential must allow. Needs an administrator as the login user.',
      }),
    ),
    kill_grace: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 3600,
        default: 10,
        title: 'Kill grace',
        description:
          'Time between the first attempt to end the command and the next, harder one, when the step is cancelled or times out, in seconds',
      }),
    ),
    limits: Type.Optional(WinrmLimits),
    on_output_limit: onOutputLimitField,
  },
  { additionalProperties: false },
);
export type WinrmExecConfig = Static<typeof WinrmExecConfigSchema>;
