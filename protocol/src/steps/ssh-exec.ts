import { type Static, Type } from 'typebox';
import {
  noNulPattern,
  posixDirectoryPattern,
  posixUserPattern,
  posixVariablePattern,
  programPattern,
} from './patterns.ts';

/** Whom a command runs as where not as who logs in. */
export const BecomeSchema = Type.Object(
  {
    method: Type.Optional(
      Type.Enum(['sudo', 'su'], {
        default: 'sudo',
        title: 'Method',
        description: 'The password, where one is asked for, is sealed in the credential',
      }),
    ),
    user: Type.Optional(
      Type.String({
        maxLength: 32,
        pattern: posixUserPattern,
        default: 'root',
        title: 'User',
        description: 'Whom the command runs as',
      }),
    ),
  },
  {
    additionalProperties: false,
    title: 'Become another user',
    description:
      'By sudo or su, before the command starts; who logs in stays the same. Name a user, or su; `{}` is root by sudo.',
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
        'May have many lines, up to 128 KiB. It is sent over the connection, and stands in no argument.',
      contentMediaType: 'text/x-shellscript',
    }),
    // No default: an agent of an earlier version refuses what it doesn't know.
    shell: Type.Optional(
      Type.Enum(['sh', 'bash'], {
        title: 'Shell',
        description: 'The target’s /bin/sh unless told, or the bash that is first in its PATH',
      }),
    ),
    interpreter: Type.Optional(
      Type.String({
        maxLength: 256,
        pattern: programPattern,
        title: 'Interpreter',
        description:
          'What reads the command in place of a shell: python3, perl, /opt/bin/ruby. Values reach it by environment and stdin',
      }),
    ),
    stdin: Type.Optional(
      Type.String({
        maxLength: 131_072,
        pattern: noNulPattern,
        title: 'Standard input',
        description: 'What the command reads; nothing unless told. Its last line is ended where it is not',
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
        pattern: posixDirectoryPattern,
        title: 'Working directory',
        description: 'Absolute path; the user’s home directory unless told',
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
          description: 'Variables of the command, by name',
        },
      ),
    ),
    pty: Type.Optional(
      Type.Boolean({
        title: 'Terminal',
        description:
          'Whether the command has a terminal: for programs that insist on one. What it prints to its error output comes with the rest',
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
        description: 'Between TERM and KILL when the step is cancelled or runs out of time, in seconds',
      }),
    ),
    survive_agent_restart: Type.Optional(
      Type.Boolean({
        title: 'Survives its agent',
        description:
          'Whether the command goes on, and its output is kept on the target, while no agent is connected to it. On for steps with a timeout over five minutes unless told.',
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
              description: 'Of each process, in seconds',
            }),
          ),
          memory_mb: Type.Optional(
            Type.Integer({
              minimum: 1,
              maximum: 16_777_216,
              title: 'Memory',
              description: 'Address space of each process, in MiB',
            }),
          ),
          nice: Type.Optional(
            Type.Integer({
              minimum: 0,
              maximum: 19,
              title: 'Niceness',
              description: 'How much the command gives way to others; 0 for not at all',
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
          description:
            'What the command may use. A target that can’t keep a limit refuses the command before it starts.',
        },
      ),
    ),
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
export type SshExecConfig = Static<typeof SshExecConfigSchema>;

/** Steps that may run longer than this, in seconds, survive a restart of their agent unless told otherwise. */
export const survivesAboveTimeoutS = 300;

/** Whether a step's command is to go on without an agent. */
export function survivesAgentRestart({
  survive_agent_restart,
  timeout,
  pty,
}: Partial<SshExecConfig>): boolean {
  // A terminal is gone with its connection.
  if (pty === true) return false;
  return survive_agent_restart ?? (timeout ?? survivesAboveTimeoutS) > survivesAboveTimeoutS;
}
