// Step type sftp.sync: makes one directory tree like another, between agent and target.
import type { SftpSyncConfig } from '@opsconductor/protocol';
import { runTransfer, type TransferDeps } from '../../sftp/run-transfer.ts';
import type { StepType } from '../step-type.ts';
import { syncPlan } from './sftp-plan.ts';

export function sftpSync(deps: TransferDeps): StepType<SftpSyncConfig> {
  return {
    type: 'sftp.sync',
    execute: (config, context) => runTransfer(deps, syncPlan(config), context),
  };
}
