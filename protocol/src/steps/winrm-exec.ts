import { type Static, Type } from 'typebox';
import { noNulPattern, windowsDirectoryPattern, windowsVariablePattern } from './patterns.ts';

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
  },
  { additionalProperties: false },
);
export type WinrmExecConfig = Static<typeof WinrmExecConfigSchema>;
