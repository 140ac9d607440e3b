// Step type sftp.upload.
import type { SftpUploadConfig } from '@opsconductor/protocol';
import { runTransfer, type TransferDeps } from '../sftp/run-transfer.ts';
import { copyPlan } from './sftp-plan.ts';
import type { StepType } from './step-type.ts';

export function sftpUpload(deps: TransferDeps): StepType<SftpUploadConfig> {
  return {
    type: 'sftp.upload',
    execute: (config, context) => runTransfer(deps, copyPlan('push', config), context),
  };
}
