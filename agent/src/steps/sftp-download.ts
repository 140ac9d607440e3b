// Step type sftp.download.
import type { SftpDownloadConfig } from '@opsconductor/protocol';
import { runTransfer, type TransferDeps } from '../sftp/run-transfer.ts';
import { copyPlan } from './sftp-plan.ts';
import type { StepType } from './step-type.ts';

export function sftpDownload(deps: TransferDeps): StepType<SftpDownloadConfig> {
  return {
    type: 'sftp.download',
    execute: (config, context) => runTransfer(deps, copyPlan('pull', config), context),
  };
}
