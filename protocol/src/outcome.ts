// The result of one attempt. A failed step is data: an exit code, or a reason with advice.
import { type Static, Type } from 'typebox';
import { DetectionsSchema } from './detections.ts';

/**
 * Why an attempt did not end with an accepted exit code. Published in the API, so never renamed.
 *
 * `connection_lost`, `agent_silent`, `agent_revoked`, `agent_restarted`, `cancel_unconfirmed`, `cancel_forced` and
 * `database_restored` go with the status `unknown`; `condition_false`, `predecessor`, `when_status` and `rerun` with
 * `skipped`; `halted` with `cancelled`; `run_timeout` with `timed_out`; `decided` with the status that a person chose.
 */
export const stepReasons = [
  'exit_code',
  'signal',
  'unreachable',
  'name_not_found',
  'connection_refused',
  'connect_timed_out',
  'no_common_algorithm',
  'auth_failed',
  'host_key_unknown',
  'host_key_mismatch',
  'certificate_refused',
  'not_authorized',
  'jump_host_failed',
  'credential_bounds',
  'credential_unusable',
  'agent_too_old',
  'working_directory',
  'channel_refused',
  'become_password_missing',
  'become_refused',
  'timed_out',
  'cancelled',
  'cancel_unconfirmed',
  'connection_lost',
  'agent_silent',
  'agent_revoked',
  'agent_restarted',
  'target_rebooted',
  'not_rebooted',
  'supervisor_lost',
  'no_supervisor',
  'output_limit',
  'cpu_limit',
  'limit_refused',
  'sftp_missing',
  'policy_refused',
  'path_refused',
  'path_missing',
  'permission_denied',
  'no_space',
  'file_exists',
  'file_changed',
  'checksum_mismatch',
  'delete_limit',
  'transfer_cut',
  'transfer_failed',
  'invalid_config',
  'lease_expired',
  'start_within_expired',
  'run_timeout',
  'halted',
  'rerun',
  'predecessor',
  'when_status',
  'condition_false',
  'condition_error',
  'value_missing',
  'value_refused',
  'output_missing',
  'decided',
  'cancel_forced',
  'database_restored',
  'internal',
] as const;
export type StepReason = (typeof stepReasons)[number];

/** Replacements for reasons that an older server doesn't know. */
const olderReasons: Partial<Record<StepReason, StepReason>> = {
  target_rebooted: 'connection_lost',
  supervisor_lost: 'connection_lost',
  no_supervisor: 'channel_refused',
  cpu_limit: 'signal',
  limit_refused: 'channel_refused',
  certificate_refused: 'unreachable',
  not_authorized: 'auth_failed',
  jump_host_failed: 'unreachable',
  not_rebooted: 'timed_out',
  become_password_missing: 'auth_failed',
  become_refused: 'auth_failed',
  sftp_missing: 'channel_refused',
  policy_refused: 'invalid_config',
  path_refused: 'invalid_config',
  path_missing: 'exit_code',
  permission_denied: 'exit_code',
  no_space: 'exit_code',
  file_exists: 'exit_code',
  file_changed: 'exit_code',
  checksum_mismatch: 'exit_code',
  delete_limit: 'exit_code',
  transfer_cut: 'unreachable',
  transfer_failed: 'exit_code',
  condition_error: 'invalid_config',
  value_missing: 'invalid_config',
  value_refused: 'invalid_config',
  output_missing: 'invalid_config',
};

/**
 * Translates the outcome into reasons that the server knows. A server that doesn't list any knows those of the first
 * version.
 */
export function outcomeInReasons(outcome: StepOutcome, known?: readonly string[]): StepOutcome {
  const { reason } = outcome;
  if (reason === undefined) return outcome;
  const older = olderReasons[reason];
  const isKnown = known === undefined ? older === undefined : known.includes(reason);
  return isKnown ? outcome : { ...outcome, reason: older ?? 'internal' };
}

/**
 * Reasons on which a step may be tried again. With all of them, the attempt has ended or never began; what happens
 * after an attempt whose result is unknown is up to `on_unknown`.
 */
export const retryReasons = [
  'exit_code',
  'signal',
  'timed_out',
  'unreachable',
  'name_not_found',
  'connection_refused',
  'connect_timed_out',
  'channel_refused',
  'no_common_algorithm',
  'auth_failed',
  'host_key_unknown',
  'host_key_mismatch',
  'certificate_refused',
  'not_authorized',
  'jump_host_failed',
  'credential_bounds',
  'credential_unusable',
  'become_password_missing',
  'become_refused',
  'working_directory',
  'output_limit',
  'cpu_limit',
  'limit_refused',
  'sftp_missing',
  'path_missing',
  'permission_denied',
  'no_space',
  'file_exists',
  'file_changed',
  'checksum_mismatch',
  'transfer_cut',
  'transfer_failed',
] as const satisfies readonly StepReason[];
export type RetryReason = (typeof retryReasons)[number];

/** Default reasons for a retry: conditions that may be gone a moment later. */
export const defaultRetryReasons = [
  'exit_code',
  'signal',
  'timed_out',
  'unreachable',
  'name_not_found',
  'connection_refused',
  'connect_timed_out',
  'channel_refused',
  'jump_host_failed',
  'file_changed',
  'checksum_mismatch',
  'transfer_cut',
  'transfer_failed',
] as const satisfies readonly RetryReason[];

/** Statuses that an agent may report for an attempt. */
export const attemptOutcomes = [
  'succeeded',
  'failed',
  'timed_out',
  'cancelled',
  'unknown',
  'skipped',
] as const;

export const StepOutcomeSchema = Type.Object(
  {
    status: Type.Enum(attemptOutcomes),
    /** Exit code of the remote command, if it had one. */
    exitCode: Type.Optional(Type.Integer({ minimum: -2147483648, maximum: 4294967295 })),
    /** Signal that ended the remote command, if any, without `SIG`: `KILL`. */
    signal: Type.Optional(Type.String({ maxLength: 32 })),
    reason: Type.Optional(Type.Enum(stepReasons)),
    /** One sentence for a person: what happened. */
    message: Type.Optional(Type.String({ maxLength: 2000 })),
    /** One sentence for a person: what to try. */
    advice: Type.Optional(Type.String({ maxLength: 2000 })),
    /** Processes of the attempt that were still alive after KILL. */
    survivors: Type.Optional(
      Type.Array(Type.Object({ pid: Type.Integer(), command: Type.String({ maxLength: 512 }) }), {
        maxItems: 100,
      }),
    ),
    /** From the command's start on the target to its end, in ms. */
    executionTimeMs: Type.Optional(Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })),
    /** Processor time of the command and of the child processes it waited for, if the target reported it. */
    cpuMs: Type.Optional(Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })),
    /** Resident memory of all its processes together: the highest of the samples taken. */
    peakMemoryBytes: Type.Optional(Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })),
    /** Secrets masked in its output because of their form alone. */
    detections: Type.Optional(DetectionsSchema),
    /** The SSH connection used by the attempt, for the SSH context table. */
    ssh: Type.Optional(
      Type.Object({
        sessionId: Type.String({ maxLength: 100 }),
        establishedAt: Type.String({ maxLength: 40 }),
        reused: Type.Boolean(),
        cipher: Type.Optional(Type.String({ maxLength: 100 })),
      }),
    ),
  },
  { additionalProperties: false },
);
export type StepOutcome = Static<typeof StepOutcomeSchema>;
