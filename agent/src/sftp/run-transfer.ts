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
import { mirrorDeletions } from './copy/mirror/mirror-deletions.ts';
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
import type { Chosen } from './tree/name-pattern.ts';
import { shownPath } from './tree/shown-path.ts';
import { TransferError } from './tree/transfer-error.ts';
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
  return new Transfer(deps, { plan, context, end }).run();
}

class Transfer {
  readonly #plan: TransferPlan;
  readonly #context: StepContext;
  readonly #end: TargetEnd;
  readonly #local: LocalTree;
  readonly #lines: TransferLines;
  readonly #report: TransferReport;
  readonly #meter: ProgressMeter;
  readonly #share = new MemoryShare();
  /** Temporary names of files that were begun, by path. */
  readonly #unfinished = new Map<string, string>();
  #beganMs: number | undefined;

  constructor(
    { policy }: Pick<TransferDeps, 'policy'>,
    { plan, context, end }: { plan: TransferPlan; context: StepContext; end: TargetEnd },
  ) {
    this.#plan = plan;
    this.#context = context;
    this.#end = end;
    this.#local = new LocalTree(policy);
    this.#lines = new TransferLines(context.output);
    this.#report = new TransferReport((failure) => this.#lines.failed(failure));
    this.#meter = new ProgressMeter((progress) => context.transfers.progress(progress));
  }

  async run(): Promise<StepOutcome> {
    const outcome = await this.#untilStopped();
    if (this.#beganMs === undefined) return outcome;
    const elapsedMs = Math.round(performance.now() - this.#beganMs);
    this.#tell(elapsedMs);
    const { carrier } = this.#end;
    return { ...outcome, executionTimeMs: elapsedMs, ...(carrier === undefined ? {} : { ssh: carrier }) };
  }

  /** A server that no longer answers must not delay a stop. For a while after one, unfinished files are removed. */
  async #untilStopped(): Promise<StepOutcome> {
    const { signal } = this.#context;
    let stopTimer: NodeJS.Timeout | undefined;
    const onStop = () => {
      stopTimer = setTimeout(() => void this.#end.close(), stopGraceMs);
    };
    // Every waiting file listens to the signal.
    setMaxListeners(0, signal);
    signal.addEventListener('abort', onStop);
    try {
      return await this.#transfer();
    } finally {
      signal.removeEventListener('abort', onStop);
      clearTimeout(stopTimer);
      this.#meter.stop();
      this.#share.release();
      await this.#end.close();
    }
  }

  async #transfer(): Promise<StepOutcome> {
    const [plan, context, end, report] = [this.#plan, this.#context, this.#end, this.#report];
    let ends: Ends | undefined;
    try {
      // Checked first: what the policy forbids needs no connection.
      await this.#local.check(plan.localPath, plan.direction === 'pull');
      await end.open();
      await context.beforeStart();
      this.#beganMs = performance.now();
      this.#meter.start();
      ends = await findEnds(plan, { local: this.#local, remote: end.tree });
      await this.#copyAndDelete(ends);
      return endOutcome(report, plan);
    } catch (error) {
      const hasBegun = this.#beganMs !== undefined;
      if (hasBegun && !context.signal.aborted) report.endAll(plan, error);
      return failureOutcome(error, { context, report, hasBegun });
    } finally {
      if (ends !== undefined) await closeEnds(ends);
      this.#lines.left((await end.removeLeft?.()) ?? []);
      if (plan.isStaged !== true) this.#lines.kept(this.#shownUnfinished());
      await this.#local.close();
    }
  }

  async #copyAndDelete(ends: Ends): Promise<void> {
    const { chosen } = ends;
    const plan = chosen === undefined ? this.#plan : withChosen(this.#plan, chosen);
    const conduct = this.#conduct();
    const listings = new Listings();
    const deletions = await mirrorDeletions(ends, plan, conduct, listings);
    await new TreeCopy({
      plan,
      conduct,
      report: this.#report,
      progress: this.#meter,
      listings,
      smallFiles: this.#smallFiles(conduct),
    }).copy(ends);
    if (chosen?.hasAny() === false) throw nothingMatches(plan);
    this.#meter.counted();
    await deletions.carryOut(this.#report);
  }

  #conduct(): Conduct {
    const { bytesPerSecond, verify, resume, retries } = this.#plan;
    const { target, become, credential, signal } = this.#context;
    return {
      buffers: new ChunkBuffers(this.#share),
      rateLimit: bytesPerSecond === undefined ? undefined : new RateLimit(bytesPerSecond),
      signal,
      verify,
      resume,
      retries,
      ends: `${target.host}:${target.port} ${become?.user ?? credential.user}`,
      unfinished: this.#unfinished,
      looksAt: () => this.#share.countEntry(),
      moved: (bytes) => {
        this.#share.countMade();
        this.#meter.moved(bytes);
      },
      found: (bytes) => this.#meter.isThere(bytes),
    };
  }

  #smallFiles({ moved, signal }: Conduct) {
    const { mover } = this.#end;
    const { preserveTimes: keepsTimes } = this.#plan;
    if (mover === undefined || !mayGoTogether(this.#plan)) return undefined;
    return (top: () => string) =>
      new SmallFiles(mover({ top, keepsTimes, moved }), { signal, share: this.#share });
  }

  // ---- what people are told

  #tell(elapsedMs: number): void {
    const { rows, totals } = this.#report;
    for (const row of rows)
      if (row.status === 'planned') this.#lines.planned(row.operation, pathOf(row, this.#plan));
    this.#lines.sumUp(totals, this.#plan, elapsedMs);
    this.#context.transfers.report({ totals, rows: rows.map((row) => this.#shown(row)) });
  }

  #shown(row: TransferRow): TransferRow {
    const { remotePath } = row;
    return remotePath === undefined ? row : { ...row, remotePath: this.#shownPath(remotePath) };
  }

  #shownUnfinished(): ReadonlyMap<string, string> {
    if (this.#plan.direction === 'pull') return this.#unfinished;
    return new Map([...this.#unfinished].map(([path, name]) => [this.#shownPath(path), name]));
  }

  #shownPath(path: string): string {
    return this.#end.shownPath?.(path) ?? path;
  }
}

function withChosen(plan: TransferPlan, chosen: Chosen): TransferPlan {
  return {
    ...plan,
    filter: (path, isDirectory) => chosen.filter(path, isDirectory) && plan.filter(path, isDirectory),
  };
}

function nothingMatches({ direction, localPath, remotePath }: TransferPlan): TransferError {
  return new TransferError({
    reason: 'path_missing',
    message: `Nothing matches ${shownPath(direction === 'push' ? localPath : remotePath)}.`,
    advice: 'Check the path and the pattern at its end.',
  });
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
