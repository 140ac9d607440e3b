// For step types that copy a file of the server to the target, or files of the target to artifacts of the run. The
// transfer itself uses a private directory of the agent, which the policy file need not allow.
import type { TransferReport as Report, StepOutcome } from '@opsconductor/protocol';
import type { AgentPolicy } from '../policy/agent-policy.ts';
import { ProgressMeter } from '../sftp/report/progress-meter.ts';
import { failureOutcome } from '../sftp/report/transfer-outcomes.ts';
import { TransferReport } from '../sftp/report/transfer-report.ts';
import { isText } from '../sftp/tree/name-bytes.ts';
import { isNamePattern } from '../sftp/tree/name-pattern.ts';
import { shownPath } from '../sftp/tree/shown-path.ts';
import type { StepContext } from '../steps/step-type.ts';
import type { FileCache } from './file-cache.ts';
import { KeptArtifacts, shownInstead } from './kept-artifacts.ts';
import { type StagedArtifacts, sendArtifacts } from './staged-artifacts.ts';

export interface Contents {
  cache: FileCache;
  staged: StagedArtifacts;
}

/** Runs a transfer whose path on the agent is in the only directory that this policy allows. */
type RunTransfer = (policy: AgentPolicy, localPath: string, context: StepContext) => Promise<StepOutcome>;

/** Fetches a file of the server to the agent before anything is started on the target, and copies it from there. */
export async function fromServerFile(
  { cache }: Contents,
  name: string,
  context: StepContext,
  run: RunTransfer,
): Promise<StepOutcome> {
  const meter = new ProgressMeter((progress) => context.transfers.progress(progress));
  const held = await cache
    .hold({
      name,
      ask: context.askServer,
      signal: context.signal,
      found: (size) => {
        meter.start();
        meter.found(size);
        meter.began(name);
      },
      moved: (bytes) => meter.moved(bytes),
    })
    .catch((error: unknown) => failureOf(error, context, false))
    .finally(() => meter.stop());
  if ('status' in held) return held;
  const { directory, release } = held;
  try {
    const shown = shownAs(context, `${directory}/`, 'file ');
    return shown.outcome(
      await run({ fileRoots: [{ path: directory, mayWrite: false }] }, `${directory}/${name}`, shown.context),
    );
  } finally {
    await release();
  }
}

/** Copies into an empty directory and gives the server what arrived, even if not everything did. */
export async function toArtifacts(
  { staged }: Contents,
  remotePath: string,
  context: StepContext,
  run: RunTransfer,
): Promise<StepOutcome> {
  const stage = await staged.stage().catch((error: unknown) => failureOf(error, context, false));
  if ('status' in stage) return stage;
  const { directory, release } = stage;
  const artifacts = new KeptArtifacts(directory);
  // Told at the end: until then nobody knows which files are kept.
  let transferred: Report | undefined;
  const held = (report: Report) => {
    transferred = report;
  };
  try {
    const told = { progress: context.transfers.progress.bind(context.transfers), report: held };
    const shown = shownAs({ ...context, transfers: told }, `${directory}/`, 'artifact ');
    const policy = { fileRoots: [{ path: directory, mayWrite: true }] };
    const outcome = shown.outcome(
      await run(policy, `${directory}/${artifactsName(remotePath)}`, shown.context),
    );
    if (outcome.status !== 'succeeded' && outcome.status !== 'failed') {
      artifacts.ended('the step was stopped before it was sent to the server');
      return (transferred?.totals.created ?? 0) === 0
        ? outcome
        : { ...outcome, message: `${outcome.message ?? ''} Nothing is kept with the run.`.trim() };
    }
    const sendingMs = performance.now();
    const problem = await send(directory, context, artifacts, { hasFailed: outcome.status === 'failed' });
    const { executionTimeMs } = outcome;
    const took = Math.round(performance.now() - sendingMs);
    const ended =
      executionTimeMs === undefined ? outcome : { ...outcome, executionTimeMs: executionTimeMs + took };
    return ended.status === 'succeeded' && problem !== undefined ? { ...ended, ...problem } : ended;
  } finally {
    if (transferred !== undefined) context.transfers.report(artifacts.onlyKept(transferred));
    await release();
  }
}

/** Artifacts are called as the path is, or its directory if its last part is a pattern. */
function artifactsName(remotePath: string): string {
  const [last = 'files', before = 'files'] = remotePath
    .split('/')
    .filter((part) => !['', '~', '.', '..'].includes(part))
    .reverse();
  return isNamePattern(last) ? `${before}/` : last;
}

/** Sends the artifacts. Returns the outcome of a failure; undefined if the server has everything. */
async function send(
  directory: string,
  context: StepContext,
  artifacts: KeptArtifacts,
  { hasFailed }: { hasFailed: boolean },
): Promise<StepOutcome | undefined> {
  const meter = new ProgressMeter((progress) => context.transfers.progress(progress));
  const say = (stream: 'stdout' | 'stderr', line: string) =>
    context.output.write(stream, Buffer.from(`${line}\n`));
  meter.start();
  try {
    await sendArtifacts(directory, {
      ask: context.askServer,
      began: (name, size) => {
        meter.found(size);
        meter.began(name);
      },
      moved: (bytes) => meter.moved(bytes),
      ended: (name) => meter.ended(name),
      kept: (name) => artifacts.kept(name),
      left: (name, error) => {
        artifacts.left(name, error);
        if (!isText(name)) say('stderr', `${shownPath(name)}: not kept, because its name is not UTF-8 text.`);
      },
    });
    return undefined;
  } catch (error) {
    const problem = failureOf(error, context, true);
    artifacts.ended(problem.message ?? 'the step ended before');
    return problem;
  } finally {
    meter.stop();
    const { count } = artifacts;
    // If the transfer failed and brought nothing, its outcome says enough.
    if (count > 0 || !hasFailed)
      say('stdout', `${count === 1 ? '1 artifact' : `${count} artifacts`} kept with the run.`);
  }
}

function failureOf(error: unknown, context: StepContext, hasBegun: boolean): StepOutcome {
  return failureOutcome(error, { context, report: new TransferReport(), hasBegun });
}

/** Replaces paths of the private directory, in reports and messages, by what they stand for. */
function shownAs(
  context: StepContext,
  directory: string,
  word: string,
): { context: StepContext; outcome(outcome: StepOutcome): StepOutcome } {
  const shown = (text: string) => shownInstead(text, directory, word);
  return {
    context: {
      ...context,
      transfers: {
        progress: (progress) => context.transfers.progress(progress),
        report: ({ totals, rows }) =>
          context.transfers.report({
            totals,
            rows: rows.map(({ localPath, error, ...row }) => ({
              ...row,
              ...(localPath === undefined ? {} : { localPath: shown(localPath) }),
              ...(error === undefined ? {} : { error: shown(error) }),
            })),
          }),
      },
    },
    outcome: ({ message, ...outcome }) =>
      message === undefined ? outcome : { ...outcome, message: shown(message) },
  };
}
