// Step type sftp.download: copies files from the target to a path on the agent, or to artifacts of the run.
import { limits, type SftpDownloadConfig } from '@opsconductor/protocol';
import { type Contents, toArtifacts } from '../../contents/with-contents.ts';
import { runTransfer, type TransferDeps } from '../../sftp/run-transfer.ts';
import type { StepType } from '../step-type.ts';
import { copyPlan } from './sftp-plan.ts';

export function sftpDownload(deps: TransferDeps, contents: Contents): StepType<SftpDownloadConfig> {
  return {
    type: 'sftp.download',
    execute: (config, context) => {
      const plan = { ...copyPlan('pull', config), takesPatterns: true };
      if (config.artifact !== true) return runTransfer(deps, plan, context);
      // Only files become artifacts, and only as many files and bytes as the server keeps. `copy` is what the server
      // sends if the job says nothing.
      const staged = {
        ...plan,
        symlinks: plan.symlinks === 'copy' ? 'skip' : plan.symlinks,
        isStaged: true,
        createDirectories: true,
        maxBytes: limits.maxArtifactBytesPerAttempt,
        maxFiles: limits.maxArtifactsPerAttempt,
      };
      return toArtifacts(contents, config.remote_path, context, (policy, localPath, shown) =>
        runTransfer({ ...deps, policy }, { ...staged, localPath }, shown),
      );
    },
  };
}
