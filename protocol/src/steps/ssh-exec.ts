import { type Static, Type } from 'typebox';

// A NUL ends a string in every shell and system call, so it could only cut a value short.
const noNul = '^[^\\u0000]*$';

/** Configuration of a step of type `ssh.exec`: a POSIX shell command on the target. */
export const SshExecConfigSchema = Type.Object(
  {
    /** Run by the target's /bin/sh, with stdin from /dev/null. May have many lines. */
    command: Type.String({ minLength: 1, maxLength: 131_072, pattern: noNul }),
    /** From the start of the command, in seconds. */
    timeout: Type.Optional(Type.Integer({ minimum: 1, maximum: 604_800, default: 300 })),
    /** Absolute path; the user's home directory unless told. */
    working_directory: Type.Optional(Type.String({ maxLength: 4096, pattern: '^/[^\\u0000]*$' })),
    environment: Type.Optional(
      Type.Record(
        Type.String({ pattern: '^[A-Za-z_][A-Za-z0-9_]*$' }),
        Type.String({ maxLength: 65_536, pattern: noNul }),
        { additionalProperties: false, maxProperties: 1000 },
      ),
    ),
    /** Exit codes that count as success. */
    expected_exit_codes: Type.Optional(
      Type.Array(Type.Integer({ minimum: 0, maximum: 255 }), {
        minItems: 1,
        maxItems: 256,
        uniqueItems: true,
        default: [0],
      }),
    ),
    /** Between TERM and KILL when the step is cancelled or runs out of time, in seconds. */
    kill_grace: Type.Optional(Type.Integer({ minimum: 0, maximum: 3600, default: 10 })),
    /**
     * Whether the command goes on, and its output is kept on the target, while no agent is connected to it. On for
     * steps with a timeout over five minutes unless told.
     */
    survive_agent_restart: Type.Optional(Type.Boolean()),
    /** What the command may use. A target that can't keep a limit refuses the command before it starts. */
    limits: Type.Optional(
      Type.Object(
        {
          /** Processor time of each process, in seconds. */
          cpu_seconds: Type.Optional(Type.Integer({ minimum: 1, maximum: 604_800 })),
          /** Address space of each process, in MiB. */
          memory_mb: Type.Optional(Type.Integer({ minimum: 1, maximum: 16_777_216 })),
          /** How much the command gives way to others; 0 for not at all. */
          nice: Type.Optional(Type.Integer({ minimum: 0, maximum: 19 })),
          /** Output that is kept, both streams together, in MiB. */
          output_mb: Type.Optional(Type.Integer({ minimum: 1, maximum: 4_096 })),
        },
        { additionalProperties: false, minProperties: 1 },
      ),
    ),
    /** What becomes of a command that prints more than is kept: it goes on unheard, or is stopped and fails. */
    on_output_limit: Type.Optional(Type.Enum(['truncate', 'stop'], { default: 'truncate' })),
  },
  { additionalProperties: false },
);
export type SshExecConfig = Static<typeof SshExecConfigSchema>;

/** Steps that may run longer than this, in seconds, survive a restart of their agent unless told otherwise. */
export const survivesAboveTimeoutS = 300;

/** Whether a step's command is to go on without an agent. */
export function survivesAgentRestart({ survive_agent_restart, timeout }: Partial<SshExecConfig>): boolean {
  return survive_agent_restart ?? (timeout ?? survivesAboveTimeoutS) > survivesAboveTimeoutS;
}
