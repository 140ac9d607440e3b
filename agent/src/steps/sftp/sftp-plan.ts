// Turns the configuration of a step type that moves files into the plan of a transfer.
import type {
  SftpDownloadConfig,
  SftpSyncConfig,
  SftpUploadConfig,
  SshCopyConfig,
} from '@opsconductor/protocol';
import type { TransferPlan } from '../../sftp/transfer-plan.ts';
import { pathFilter } from '../../sftp/tree/path-filter.ts';

type Direction = TransferPlan['direction'];
type Conducted = Pick<
  SftpUploadConfig,
  'include' | 'exclude' | 'symlinks' | 'verify' | 'resume' | 'retries' | 'bandwidth_limit'
>;

export function copyPlan(direction: Direction, config: SftpUploadConfig | SftpDownloadConfig): TransferPlan {
  return {
    ...conductOf(config),
    direction,
    // Without a local path it is a server's file or artifacts that are moved, and the caller sets the path.
    localPath: config.local_path ?? '/',
    remotePath: config.remote_path,
    createDirectories: config.create_directories ?? false,
    overwrite: config.overwrite ?? 'always',
    compare: 'time',
    preservePermissions: config.preserve_permissions ?? false,
    preserveTimes: config.preserve_times ?? false,
    preserveOwner: 'preserve_owner' in config && config.preserve_owner === true,
    // A file from the server has no permissions of its own.
    fileMode: modeOf(config.mode ?? ('file' in config && config.file !== undefined ? '0644' : undefined)),
    directoryMode: modeOf(config.directory_mode),
    isSync: false,
    dryRun: false,
    maxDelete: undefined,
  };
}

export function syncPlan(config: SftpSyncConfig): TransferPlan {
  const mode = config.mode ?? 'update';
  return {
    ...conductOf(config),
    direction: config.direction ?? 'push',
    localPath: config.local_path,
    remotePath: config.remote_path,
    createDirectories: config.create_directories ?? false,
    overwrite: mode === 'mirror' ? 'different' : 'update',
    compare: config.compare ?? 'time',
    preservePermissions: config.preserve_permissions ?? true,
    // The next sync compares them.
    preserveTimes: true,
    preserveOwner: config.preserve_owner ?? false,
    fileMode: undefined,
    directoryMode: undefined,
    isSync: true,
    dryRun: config.dry_run ?? false,
    maxDelete: mode === 'mirror' && config.delete === true ? (config.max_delete ?? 100) : undefined,
  };
}

export function sshCopyPlan(config: SshCopyConfig): TransferPlan {
  return copyPlan(config.direction ?? 'push', config);
}

function conductOf(config: Conducted) {
  return {
    filter: pathFilter(config.include, config.exclude),
    symlinks: config.symlinks ?? 'copy',
    verify: config.verify ?? 'size',
    resume: config.resume ?? true,
    retries: config.retries ?? 3,
    bytesPerSecond: config.bandwidth_limit === undefined ? undefined : config.bandwidth_limit * 1_024,
  } as const;
}

function modeOf(text: string | undefined): number | undefined {
  return text === undefined ? undefined : Number.parseInt(text, 8);
}
