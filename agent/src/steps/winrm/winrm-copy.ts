// Step type winrm.copy: files and directories between the agent and a Windows host.

import { posix } from 'node:path';
import type { StepOutcome, WinrmCopyConfig } from '@opsconductor/protocol';
import { cutText } from '../../cut-text.ts';
import type { AgentPolicy } from '../../policy/agent-policy.ts';
import { transferBetween } from '../../sftp/run-transfer.ts';
import type { TransferPlan } from '../../sftp/transfer-plan.ts';
import { type Chosen, chosenBy, isNamePattern } from '../../sftp/tree/name-pattern.ts';
import { pathFilter } from '../../sftp/tree/path-filter.ts';
import { WindowsLink } from '../../windows-files/windows-link.ts';
import { windowsPath } from '../../windows-files/windows-path.ts';
import { WindowsTree } from '../../windows-files/windows-tree.ts';
import type { StepContext, StepType } from '../step-type.ts';
import type { WinrmDeps } from './winrm-connection-options.ts';

export interface WinrmCopyDeps extends WinrmDeps {
  policy: AgentPolicy;
}

export function winrmCopy(deps: WinrmCopyDeps): StepType<WinrmCopyConfig> {
  return { type: 'winrm.copy', execute: (config, context) => execute(deps, config, context) };
}

async function execute(
  deps: WinrmCopyDeps,
  config: WinrmCopyConfig,
  context: StepContext,
): Promise<StepOutcome> {
  const link = new WindowsLink(deps, context);
  const { plan, chosen } = winrmCopyPlan(config);
  const outcome = await transferBetween(deps, plan, context, {
    tree: new WindowsTree(link),
    open: () => link.session(),
    close: () => link.close(),
    shownPath: windowsPath,
  });
  if (outcome.reason === 'permission_denied') link.retire();
  if (outcome.status !== 'succeeded' || chosen.hasAny()) return outcome;
  const source = plan.direction === 'push' ? config.local_path : config.remote_path;
  return {
    ...outcome,
    status: 'failed',
    reason: 'path_missing',
    message: cutText(`Nothing matches ${source}.`, 2_000),
    advice: 'Check the path and the pattern at its end.',
  };
}

function winrmCopyPlan(config: WinrmCopyConfig): { plan: TransferPlan; chosen: Chosen } {
  const direction = config.direction ?? 'push';
  const remotePath = config.remote_path.replaceAll('\\', '/');
  const [source, destination] =
    direction === 'push' ? [config.local_path, remotePath] : [remotePath, config.local_path];
  const chosen = sourceOf(source);
  const given = pathFilter(config.include, config.exclude);
  const [localPath, remote] = direction === 'push' ? [chosen.path, destination] : [destination, chosen.path];
  const plan: TransferPlan = {
    direction,
    localPath,
    remotePath: remote,
    createDirectories: config.create_directories ?? false,
    overwrite: config.overwrite ?? 'different',
    compare: 'checksum',
    preservePermissions: false,
    preserveTimes: config.preserve_times ?? false,
    fileMode: undefined,
    directoryMode: undefined,
    filter: (path, isDirectory) => chosen.filter(path, isDirectory) && given(path, isDirectory),
    symlinks: config.symlinks ?? 'follow',
    verify: 'checksum',
    resume: config.resume ?? true,
    retries: config.retries ?? 3,
    bytesPerSecond: config.bandwidth_limit === undefined ? undefined : config.bandwidth_limit * 1_024,
    isSync: false,
    dryRun: false,
    maxDelete: undefined,
  };
  return { plan, chosen };
}

/** Splits a path like `/srv/logs/*.txt` into the directory and a filter for the entries that match the last part. */
function sourceOf(path: string): Chosen & { path: string } {
  const last = posix.basename(path);
  if (!isNamePattern(last)) return { path, filter: () => true, hasAny: () => true };
  return { path: posix.dirname(path), ...chosenBy(last) };
}
