// The step types that this agent can run, each with the check of its configuration.
import { errorDetails, stepConfigSchemas, validatorOptions } from '@opsconductor/protocol';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import type { TSchema } from 'typebox';
import type { Contents } from '../../contents/with-contents.ts';
import type { TransferDeps } from '../../sftp/run-transfer.ts';
import { sftpDownload } from '../../steps/sftp/sftp-download.ts';
import { sftpSync } from '../../steps/sftp/sftp-sync.ts';
import { sftpUpload } from '../../steps/sftp/sftp-upload.ts';
import { sshCopy } from '../../steps/sftp/ssh-copy.ts';
import { sshExec } from '../../steps/ssh-exec/ssh-exec.ts';
import type { StepContext, StepType } from '../../steps/step-type.ts';
import { reboot } from '../../steps/waiting/reboot.ts';
import { waitFor } from '../../steps/waiting/wait-for.ts';
import type { WinrmDeps } from '../../steps/winrm/winrm-connection-options.ts';
import { winrmCopy } from '../../steps/winrm/winrm-copy.ts';
import { winrmExec } from '../../steps/winrm/winrm-exec.ts';

/** A step type, with the check that its configuration passes before it runs. */
export interface KnownStepType {
  execute: StepType<unknown>['execute'];
  prepare?: NonNullable<StepType<unknown>['prepare']>;
  forgo?: NonNullable<StepType<unknown>['forgo']>;
  reattach?: NonNullable<StepType<unknown>['reattach']>;
  readOutputFile?: NonNullable<StepType<unknown>['readOutputFile']>;
  remove?: NonNullable<StepType<unknown>['remove']>;
  toReattach?(config: unknown): unknown;
  /** Returns what is wrong with a configuration, in words for a person; undefined if nothing is. */
  configProblem(config: unknown): string | undefined;
}

export type KnownStepTypes = ReadonlyMap<string, KnownStepType>;

/** @param configSchema validates what reaches `execute`, so that the type argument is true at run time. */
export function knownStepType<Config>(stepType: StepType<Config>, configSchema: TSchema): KnownStepType {
  let validate: ValidateFunction | undefined;
  return {
    execute: (config, context) => stepType.execute(config as Config, context),
    ...(stepType.prepare && { prepare: stepType.prepare }),
    ...(stepType.forgo && { forgo: stepType.forgo }),
    ...(stepType.reattach && {
      reattach: (config: unknown, context: StepContext) =>
        (stepType.reattach as NonNullable<typeof stepType.reattach>)(config as Config, context),
    }),
    ...(stepType.toReattach && {
      toReattach: (config: unknown) => stepType.toReattach?.(config as Config),
    }),
    ...(stepType.readOutputFile && { readOutputFile: stepType.readOutputFile }),
    ...(stepType.remove && { remove: stepType.remove }),
    configProblem(config) {
      // Compiled on first use: compiling all schemas would delay the start more than everything else.
      validate ??= new Ajv2020({ ...validatorOptions, validateSchema: false }).compile(configSchema);
      if (validate(config)) return undefined;
      const [detail] = errorDetails(validate.errors, { root: 'config', max: 1 });
      return detail === undefined ? 'config is invalid.' : `${detail.path}: ${detail.message}`;
    },
  };
}

/** Returns the types of steps that this agent can run, by name. */
export function standardStepTypes(
  transfers: TransferDeps,
  contents: Contents,
  winrm: WinrmDeps,
): KnownStepTypes {
  const { pool, policy } = transfers;
  return new Map([
    ['ssh.exec', knownStepType(sshExec(pool), stepConfigSchemas['ssh.exec'])],
    ['reboot', knownStepType(reboot(pool), stepConfigSchemas.reboot)],
    ['wait_for', knownStepType(waitFor(pool), stepConfigSchemas.wait_for)],
    ['ssh.copy', knownStepType(sshCopy(transfers, contents), stepConfigSchemas['ssh.copy'])],
    ['sftp.upload', knownStepType(sftpUpload(transfers, contents), stepConfigSchemas['sftp.upload'])],
    ['sftp.download', knownStepType(sftpDownload(transfers, contents), stepConfigSchemas['sftp.download'])],
    ['sftp.sync', knownStepType(sftpSync(transfers), stepConfigSchemas['sftp.sync'])],
    ['winrm.exec', knownStepType(winrmExec(winrm), stepConfigSchemas['winrm.exec'])],
    ['winrm.copy', knownStepType(winrmCopy({ ...winrm, policy }), stepConfigSchemas['winrm.copy'])],
  ]);
}
