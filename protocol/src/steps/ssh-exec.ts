import { type Static, Type } from 'typebox';
import { commandTimeoutField, onOutputLimitField, outputMbField } from './command-fields.ts';
import {
  noNulPattern,
  posixDirectoryPattern,
  posixUserPattern,
  posixVariablePattern,
  programPattern,
} from './patterns.ts';

/** The user that a command runs as, if not the one who logs in. */
export const BecomeSchema = Type.Object(
  {
    method: Type.Optional(
      Type.Enum(['sudo', 'su'], {
        default: 'sudo',
        title: 'Method',
        description: 'The password, if one is needed, is sealed in the credential',
      }),
    ),
    user: Type.Optional(
      Type.String({
        maxLength: 32,
        pattern: posixUserPattern,
        default: 'root',
        title: 'User',
        description: 'User that the command runs as',
      }),
    ),
  },
  {
    additionalProperties: false,
    title: 'Become another user',
    description:
      'By sudo or su, before the command starts; the login user stays the same. Name a user, or su; `{}` means root by sudo.',
  },
);
export type BecomeConfig = Static<typeof BecomeSchema>;

/** Configuration of a step of type `ssh.exec`: a POSIX shell command on the target. */
export const SshExecConfigSchema = Type.Object(
  {
    command: Type.String({
      minLength: 1,
      maxLength: 131_072,
      pattern: noNulPattern,
      title: 'Command',
      description:
        'May have many lines, up to 128 KiB. It is sent over the connection and never appears in a command line.',
      contentMediaType: 'text/x-shellscript',
    }),
    // No schema default, because agents of earlier versions refuse a field that they don't know.
    shell: Type.Optional(
      Type.Enum(['sh', 'bash'], {
        title: 'Shell',
        description: 'Default: the target’s /bin/sh; or the first bash in its PATH',
      }),
    ),
    interpreter: Type.Optional(
      Type.String({
        maxLength: 256,
        pattern: programPattern,
        title: 'Interpreter',
        description:
          'Program that reads the command instead of a shell: python3, perl, /opt/bin/ruby. Values reach it by environment and stdin',
      }),
    ),
    stdin: Type.Optional(
      Type.String({
        maxLength: 131_072,
        pattern: noNulPattern,
        title: 'Standard input',
        description: 'Input of the command; by default empty. A missing line break at the end is added',
      }),
    ),
    timeout: commandTimeoutField,
    working_directory: Type.Optional(
      Type.String({
        maxLength: 4096,
        pattern: posixDirectoryPattern,
        title: 'Working directory',
        description: 'Absolute path; default: the user’s home directory',
      }),
    ),
    environment: Type.Optional(
      Type.Record(
        Type.String({ pattern: posixVariablePattern }),
        Type.String({ maxLength: 65_536, pattern: noNulPattern }),
        {
          additionalProperties: false,
          maxProperties: 1000,
          title: 'Environment',
          description: 'Environment variables of the command, by name',
        },
      ),
    ),
    pty: Type.Optional(
      Type.Boolean({
        title: 'Terminal',
        description:
          'Whether the command gets a terminal, for programs that insist on one. Its error output is then mixed with the rest',
      }),
    ),
    become: Type.Optional(BecomeSchema),
    expected_exit_codes: Type.Optional(
      Type.Array(Type.Integer({ minimum: 0, maximum: 255 }), {
        minItems: 1,
        maxItems: 256,
        uniqueItems: true,
        default: [0],
        title: 'Expected exit codes',
        description: 'Exit codes that count as success',
      }),
    ),
    kill_grace: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 3600,
        default: 10,
        title: 'Kill grace',
        description: 'Time between TERM and KILL when the step is cancelled or times out, in seconds',
      }),
    ),
    survive_agent_restart: Type.Optional(
      Type.Boolean({
        title: 'Survives its agent',
        description:
          'Whether the command continues, and its output is kept on the target, while no agent is connected to it. Default: on for steps with a timeout over five minutes.',
      }),
    ),
    limits: Type.Optional(
      Type.Object(
        {
          cpu_seconds: Type.Optional(
            Type.Integer({
              minimum: 1,
              maximum: 604_800,
              title: 'Processor time',
              description: 'For each process, in seconds',
            }),
          ),
          memory_mb: Type.Optional(
            Type.Integer({
              minimum: 1,
              maximum: 16_777_216,
              title: 'Memory',
              description: 'Address space for each process, in MiB',
            }),
          ),
          nice: Type.Optional(
            Type.Integer({
              minimum: 0,
              maximum: 19,
              title: 'Niceness',
              description: 'How much the command yields to others; 0 for not at all',
            }),
          ),
          output_mb: outputMbField,
        },
        {
          additionalProperties: false,
          minProperties: 1,
          title: 'Limits',
          description:
            'Resources that the command may use. A target that can’t enforce a limit refuses the command before it starts.',
        },
      ),
    ),
    on_output_limit: onOutputLimitField,
  },
  { additionalProperties: false },
);
export type SshExecConfig = Static<typeof SshExecConfigSchema>;

/** Commands with a longer timeout than this, in seconds, survive a restart of their agent by default. */
export const survivesAboveTimeoutS = 300;

/** Whether a step's command continues without an agent. */
export function survivesAgentRestart({
  survive_agent_restart,
  timeout,
  pty,
}: Partial<SshExecConfig>): boolean {
  // A terminal ends with its connection.
  if (pty === true) return false;
  return survive_agent_restart ?? (timeout ?? survivesAboveTimeoutS) > survivesAboveTimeoutS;
}
