// Carries out a transfer from its plan to its outcome: finds both ends, copies, deletes what a mirror has to delete,
// reports.
import { setMaxListeners } from 'node:events';
import type { StepOutcome, TransferRow } from '@opsconductor/protocol';
import type { AgentPolicy } from '../policy/agent-policy.ts';
import type { SshPool } from '../ssh/pool/pool.ts';
import type { StepContext } from '../steps/step-type.ts';
import { ChunkBuffers } from './copy/chunk-buffers.ts';
import type { Conduct } from './copy/copy-file.ts';
import { Listings } from './copy/listings.ts';
import { mirrorDeletions } from './copy/mirror-deletions.ts';
import { RateLimit } from './copy/rate-limit.ts';
import { TreeCopy } from './copy/tree-copy.ts';
import { closeEnds, type Ends, findEnds } from './find-ends.ts';
import { LocalTree } from './local/local-tree.ts';
import { MemoryShare } from './memory-share.ts';
import { RemoteTree } from './remote/remote-tree.ts';
import { SftpLink } from './remote/sftp-link.ts';
import { ProgressMeter } from './report/progress-meter.ts';
import { TransferLines } from './report/transfer-lines.ts';
import { endOutcome, failureOutcome } from './report/transfer-outcomes.ts';
import { TransferReport } from './report/transfer-report.ts';
import { type Mover, type MoverOptions, SmallFiles } from './stream/small-files.ts';
import { TarDownload } from './stream/tar-download.ts';
import { TarUpload } from './stream/tar-upload.ts';
import type { TransferPlan } from './transfer-plan.ts';
import type { Tree } from './tree/tree.ts';

/** How long a stop waits for requests that are in progress on the target, in ms. */
const stopGraceMs = 3_000;

export interface TransferDeps {
  pool: SshPool;
  policy: AgentPolicy;
}

/** The target's end of a transfer, over SFTP or something that can do the same. */
export interface TargetEnd {
  readonly tree: Tree;
  /** The connection used last, if known. */
  readonly carrier?: StepOutcome['ssh'];
  /** Reaches the target. Rejects with an `SshError`, or with the signal's reason. */
  open(): Promise<unknown>;
  /** Removes unfinished files that lost connections left; returns the paths of those left nevertheless. Never rejects. */
  removeLeft?(): Promise<readonly string[]>;
  close(): void | Promise<void>;
  /** Creates what moves many small files together, if this end supports that. */
  mover?(options: MoverOptions): Mover;
  /** Returns a path as people write it there; unchanged by default. */
  shownPath?(path: string): string;
}

/** @param options.hasOtherWay whether the caller can do without SFTP on the same login */
export async function runTransfer(
  deps: TransferDeps,
  plan: TransferPlan,
  context: StepContext,
  options: { hasOtherWay?: boolean } = {},
): Promise<StepOutcome> {
  const link = new SftpLink(deps.pool, context, options);
  const outcome = await transferBetween(deps, plan, context, {
    tree: new RemoteTree(link),
    get carrier() {
      return link.carrier;
    },
    open: () => link.session(),
    removeLeft: () => link.removeLeft(),
    close: () => link.close(),
    mover: (how) => (plan.direction === 'push' ? new TarUpload(link, how) : new TarDownload(link, how)),
  });
  retireIfDenied(deps, context, outcome);
  return outcome;
}

/** A login has the groups that its user had when it began; the next step may find a user who belongs to more of them. */
export function retireIfDenied(
  { pool }: Pick<TransferDeps, 'pool'>,
  context: StepContext,
  { reason }: StepOutcome,
): void {
  if (reason === 'permission_denied') pool.retireLogins(context);
}

/** The same as `runTransfer`, for any target end. */
export async function transferBetween(
  deps: Pick<TransferDeps, 'policy'>,
  plan: TransferPlan,
  context: StepContext,
  end: TargetEnd,
): Promise<StepOutcome> {
  const lines = new TransferLines(context.output);
  const report = new TransferReport((failure) => lines.failed(failure));
  const share = new MemoryShare();
  const unfinished = new Map<string, string>();
  const meter = new ProgressMeter((progress) => context.transfers.progress(progress));
  let beganMs: number | undefined;
  // A server that no longer answers must not delay a stop. Until the timer fires, unfinished files are removed.
  let stopTimer: NodeJS.Timeout | undefined;
  const onStop = () => {
    stopTimer = setTimeout(() => void end.close(), stopGraceMs);
  };
  // Every waiting file listens to the signal.
  setMaxListeners(0, context.signal);
  context.signal.addEventListener('abort', onStop);
  let outcome: StepOutcome;
  try {
    outcome = await transfer();
  } finally {
    context.signal.removeEventListener('abort', onStop);
    clearTimeout(stopTimer);
    meter.stop();
    share.release();
    await end.close();
  }
  if (beganMs === undefined) return outcome;
  const elapsedMs = Math.round(performance.now() - beganMs);
  for (const row of report.rows)
    if (row.status === 'planned') lines.planned(row.operation, pathOf(row, plan));
  lines.sumUp(report.totals, plan, elapsedMs);
  context.transfers.report({ totals: report.totals, rows: report.rows.map(shown) });
  return {
    ...outcome,
    executionTimeMs: elapsedMs,
    ...(end.carrier === undefined ? {} : { ssh: end.carrier }),
  };

  async function transfer(): Promise<StepOutcome> {
    const trees = { local: new LocalTree(deps.policy), remote: end.tree };
    let ends: Ends | undefined;
    try {
      // Checked first: what the policy forbids needs no connection.
      await trees.local.check(plan.localPath, plan.direction === 'pull' && !plan.dryRun);
      await end.open();
      await context.beforeStart();
      beganMs = performance.now();
      meter.start();
      ends = await findEnds(plan, trees);
      await copyAndDelete(ends);
      return endOutcome(report, plan);
    } catch (error) {
      if (beganMs !== undefined && !context.signal.aborted) report.endAll(plan, error);
      return failureOutcome(error, { context, report, hasBegun: beganMs !== undefined });
    } finally {
      if (ends !== undefined) await closeEnds(ends);
      lines.left((await end.removeLeft?.()) ?? []);
      if (plan.isStaged !== true) lines.kept(shownFiles(unfinished));
      await trees.local.close();
    }
  }

  function shownFiles(files: ReadonlyMap<string, string>): ReadonlyMap<string, string> {
    if (plan.direction === 'pull' || end.shownPath === undefined) return files;
    return new Map([...files].map(([path, name]) => [end.shownPath?.(path) ?? path, name]));
  }

  function shown(row: TransferRow): TransferRow {
    if (row.remotePath === undefined || end.shownPath === undefined) return row;
    return { ...row, remotePath: end.shownPath(row.remotePath) };
  }

  function smallFiles(conduct: Conduct) {
    const { mover } = end;
    if (mover === undefined || !mayGoTogether(plan)) return undefined;
    return (top: () => string) =>
      new SmallFiles(mover({ top, keepsTimes: plan.preserveTimes, moved: conduct.moved }), {
        signal: conduct.signal,
        share,
      });
  }

  async function copyAndDelete(ends: Ends): Promise<void> {
    const conduct: Conduct = {
      buffers: new ChunkBuffers(share),
      rateLimit: plan.bytesPerSecond === undefined ? undefined : new RateLimit(plan.bytesPerSecond),
      signal: context.signal,
      verify: plan.verify,
      resume: plan.resume,
      retries: plan.retries,
      ends: `${context.target.host}:${context.target.port} ${context.become?.user ?? context.credential.user}`,
      unfinished,
      looksAt: () => share.countEntry(),
      moved: (bytes) => {
        share.countMade();
        meter.moved(bytes);
      },
      found: (bytes) => meter.isThere(bytes),
    };
    const listings = new Listings();
    const deletions = await mirrorDeletions(ends, plan, conduct, listings);
    await new TreeCopy({
      plan,
      conduct,
      report,
      progress: meter,
      listings,
      smallFiles: smallFiles(conduct),
    }).copy(ends);
    meter.counted();
    await deletions.carryOut(report);
  }
}

/** Whether small files may be moved together. Checksums, rate limits, owners and dry runs need them one by one. */
function mayGoTogether({ verify, bytesPerSecond, preserveOwner, dryRun }: TransferPlan): boolean {
  return verify === 'size' && bytesPerSecond === undefined && preserveOwner !== true && !dryRun;
}

function pathOf(
  { localPath, remotePath }: { localPath?: string; remotePath?: string },
  { direction }: TransferPlan,
): string {
  return (direction === 'push' ? remotePath : localPath) ?? '';
}
