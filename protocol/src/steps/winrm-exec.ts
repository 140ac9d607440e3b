import { type Static, Type } from 'typebox';
import { namePattern } from '../api/text.ts';
import { noNulPattern, windowsDirectoryPattern, windowsVariablePattern } from './patterns.ts';

const WinrmLimits = Type.Object(
  {
    memory_mb: Type.Optional(
      Type.Integer({
        minimum: 64,
        maximum: 16_777_216,
        title: 'Memory',
        description: 'Of the command with all that it starts, in MiB. What would take more gets none',
      }),
    ),
    priority: Type.Optional(
      Type.Enum(['below_normal', 'idle'], {
        title: 'Priority',
        description: 'How much the command gives way to others; not at all unless told',
      }),
    ),
    output_mb: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 4_096,
        title: 'Output',
        description: 'Output that is kept, both streams together, in MiB',
      }),
    ),
  },
  {
    additionalProperties: false,
    minProperties: 1,
    title: 'Limits',
    description: 'What the command may use. A host that can’t keep a limit runs none of the command.',
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
        description: 'What reads the command: Windows PowerShell, PowerShell 7 or newer, or cmd.exe',
      }),
    ),
    stdin: Type.Optional(
      Type.String({
        maxLength: 131_072,
        pattern: noNulPattern,
        title: 'Standard input',
        description:
          'What the command reads: in PowerShell the lines of $input, in a batch file its standard input; nothing unless told',
      }),
    ),
    timeout: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 604_800,
        default: 300,
        title: 'Timeout',
        description: 'From the start of the command, in seconds',
      }),
    ),
    working_directory: Type.Optional(
      Type.String({
        maxLength: 4096,
        pattern: windowsDirectoryPattern,
        title: 'Working directory',
        description: 'Absolute path; the user’s profile unless told',
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
          description: 'Variables of the command, by name',
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
          'system: as a scheduled task of the host, for what a remote logon may not do, as installing updates; it goes on while no agent is connected. Takes an administrator. As the login user unless told.',
      }),
    ),
    run_as_credential: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 100,
        pattern: namePattern,
        title: 'Run as user',
        description:
          'Name of a WinRM password of the target’s segment: the command runs as its user, as a scheduled task. The host is told the password, which the credential must allow. Takes an administrator who logs in.',
      }),
    ),
    kill_grace: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 3600,
        default: 10,
        title: 'Kill grace',
        description:
          'Between the first try to end the command and the next harder one, when it is cancelled or runs out of time; seconds',
      }),
    ),
    limits: Type.Optional(WinrmLimits),
    on_output_limit: Type.Optional(
      Type.Enum(['truncate', 'stop'], {
        default: 'truncate',
        title: 'Too much output',
        description:
          'What becomes of a command that prints more than is kept: it goes on unheard, or is stopped and fails.',
      }),
    ),
  },
  { additionalProperties: false },
);
export type WinrmExecConfig = Static<typeof WinrmExecConfigSchema>;
