// Step type ssh.copy.
import type { SshCopyConfig } from '@opsconductor/protocol';
import { runTransfer, type TransferDeps } from '../sftp/run-transfer.ts';
import { sshCopyPlan } from './sftp-plan.ts';
import type { StepType } from './step-type.ts';

export function sshCopy(deps: TransferDeps): StepType<SshCopyConfig> {
  return {
    type: 'ssh.copy',
    execute: (config, context) => runTransfer(deps, sshCopyPlan(config), context),
  };
}
