// Step type sftp.upload: copies a path on the agent, or a file from the server, to the target.
import type { SftpUploadConfig } from '@opsconductor/protocol';
import { type Contents, fromServerFile } from '../../contents/with-contents.ts';
import { runTransfer, type TransferDeps } from '../../sftp/run-transfer.ts';
import type { StepType } from '../step-type.ts';
import { copyPlan } from './sftp-plan.ts';

export function sftpUpload(deps: TransferDeps, contents: Contents): StepType<SftpUploadConfig> {
  return {
    type: 'sftp.upload',
    execute: (config, context) => {
      const plan = copyPlan('push', config);
      if (config.file === undefined) return runTransfer(deps, { ...plan, takesPatterns: true }, context);
      return fromServerFile(contents, config.file, context, (policy, localPath, shown) =>
        runTransfer({ ...deps, policy }, { ...plan, localPath }, shown),
      );
    },
  };
}
