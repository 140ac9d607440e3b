// Step type ssh.copy: over SFTP, and by the SCP protocol where the target has no SFTP.
import type { SshCopyConfig } from '@opsconductor/protocol';
import { runScp } from '../scp/run-scp.ts';
import { runTransfer, type TransferDeps } from '../sftp/run-transfer.ts';
import { sshCopyPlan } from './sftp-plan.ts';
import type { StepType } from './step-type.ts';

export function sshCopy(deps: TransferDeps): StepType<SshCopyConfig> {
  return {
    type: 'ssh.copy',
    execute: async (config, context) => {
      const plan = sshCopyPlan(config);
      const outcome = await runTransfer(deps, plan, context);
      // It is told before anything has begun.
      return outcome.reason === 'sftp_missing' ? runScp(deps, plan, context) : outcome;
    },
  };
}
