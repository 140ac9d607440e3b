// For tests: transfers between a file root of the agent and a directory that a user of a real sshd may write to.
import { spawnSync } from 'node:child_process';
import { chmod, mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { StepOutcome, TransferProgress, TransferReport } from '@opsconductor/protocol';
import { onTestFinished } from 'vitest';
import { FileCache } from '../../contents/file-cache.ts';
import { StagedArtifacts } from '../../contents/staged-artifacts.ts';
import type { AgentPolicy } from '../../policy/agent-policy.ts';
import { type SshSetup, setupSshd } from '../../ssh/sshd-setup.ts';
import { TestSink } from '../ssh-exec/ssh-exec-setup.ts';
import type { StepContext, StepType, StopRequest } from '../step-type.ts';
import { sftpDownload } from './sftp-download.ts';
import { sftpSync } from './sftp-sync.ts';
import { sftpUpload } from './sftp-upload.ts';
import { sshCopy } from './ssh-copy.ts';

export interface Transferred {
  outcome: StepOutcome;
  report: TransferReport | undefined;
  progress: TransferProgress[];
  stdout: string;
  stderr: string;
}

export interface SftpSetup extends SshSetup {
  /** The agent's only file root. */
  local: string;
  /** A directory on the target that its user may write to. */
  remote: string;
  /** Writes a file, making the directories above it, and returns its path. */
  put(side: 'local' | 'remote', path: string, content: string | Buffer): Promise<string>;
  run(
    type: 'upload' | 'download' | 'sync' | 'copy',
    config: object,
    more?: Partial<StepContext>,
  ): Promise<Transferred>;
  stop(cause?: StopRequest['cause']): void;
}

/** Settings of a server without SFTP, on which `ssh.copy` uses SCP. */
export const withoutSftp = { config: ['Subsystem sftp /bin/false'] };

/** Makes everything writable first: only root could remove what is in read-only directories. */
async function removeTree(dir: string): Promise<void> {
  spawnSync('chmod', ['-R', 'u+rwX', dir]);
  await rm(dir, { recursive: true, force: true });
}

export async function setupTransfers(
  sshd: Parameters<typeof setupSshd>[0] = {},
  policyOf: (root: string) => AgentPolicy = (path) => ({ fileRoots: [{ path, mayWrite: true }] }),
  /** Called before the server starts, which has its own view of what is mounted. */
  prepare: (places: { local: string; remote: string }) => void = () => undefined,
): Promise<SftpSetup> {
  const dir = await realpath(await mkdtemp(join(tmpdir(), 'opsconductor-transfer-')));
  onTestFinished(() => removeTree(dir));
  await chmod(dir, 0o755);
  const [local, remote] = [join(dir, 'local'), join(dir, 'remote')];
  await mkdir(local);
  await mkdir(remote);
  await chmod(remote, 0o777);
  prepare({ local, remote });
  const t = await setupSshd(sshd);
  const deps = { pool: t.pool(), policy: policyOf(local) };
  const contents = {
    cache: await FileCache.open(join(dir, 'files'), 64 * 1024 * 1024),
    staged: await StagedArtifacts.open(join(dir, 'artifacts')),
  };
  const controller = new AbortController();
  const types: Record<string, StepType<never>> = {
    upload: sftpUpload(deps, contents),
    download: sftpDownload(deps, contents),
    sync: sftpSync(deps),
    copy: sshCopy(deps, contents),
  };
  return {
    ...t,
    local,
    remote,
    async put(side, path, content) {
      const full = join(side === 'local' ? local : remote, path);
      await mkdir(dirname(full), { recursive: true });
      await writeFile(full, content);
      return full;
    },
    async run(type, config, more = {}) {
      const sink = new TestSink();
      const told: Pick<Transferred, 'report' | 'progress'> = { report: undefined, progress: [] };
      const outcome = await (types[type] as StepType<never>).execute(config as never, {
        marker: 'test.1.1',
        directoryName: 'test.1.1',
        target: t.target,
        credential: t.credential,
        output: sink,
        transfers: {
          progress: (progress) => told.progress.push(progress),
          report: (report) => {
            told.report = report;
          },
        },
        maySurvive: false,
        askServer: () => Promise.reject(new Error('There is no server')),
        signal: controller.signal,
        beforeStart: async () => {},
        checkAddresses: () => {},
        ...more,
      });
      return { outcome, ...told, stdout: sink.stdout, stderr: sink.stderr };
    },
    stop: (cause = 'cancelled') => controller.abort({ cause, killGraceMs: 1_000 } satisfies StopRequest),
  };
}
