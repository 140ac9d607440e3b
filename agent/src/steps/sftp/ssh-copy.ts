// Step type ssh.copy: copies files over SFTP, or over the SCP protocol if the target has no SFTP.
import type { SshCopyConfig, StepOutcome } from '@opsconductor/protocol';
import { type Contents, fromServerFile } from '../../contents/with-contents.ts';
import { runScp } from '../../scp/run-scp.ts';
import { runTransfer, type TransferDeps } from '../../sftp/run-transfer.ts';
import type { TransferPlan } from '../../sftp/transfer-plan.ts';
import type { StepContext, StepType } from '../step-type.ts';
import { sshCopyPlan } from './sftp-plan.ts';

export function sshCopy(deps: TransferDeps, contents: Contents): StepType<SshCopyConfig> {
  return {
    type: 'ssh.copy',
    execute: (config, context) => {
      const plan = sshCopyPlan(config);
      if (config.file === undefined) return copy(deps, plan, context);
      return fromServerFile(contents, config.file, context, (policy, localPath, shown) =>
        copy({ ...deps, policy }, { ...plan, localPath }, shown),
      );
    },
  };
}

async function copy(deps: TransferDeps, plan: TransferPlan, context: StepContext): Promise<StepOutcome> {
  const outcome = await runTransfer(deps, plan, context, { hasOtherWay: true });
  // `sftp_missing` is reported before anything was copied.
  return outcome.reason === 'sftp_missing' ? runScp(deps, plan, context) : outcome;
}
