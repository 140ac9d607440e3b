// For step types that copy a file of the server to the target, or files of the target to artifacts of the run. The
// transfer itself uses a private directory of the agent, which the policy file need not allow.
import type { StepOutcome } from '@opsconductor/protocol';
import type { AgentPolicy } from '../policy/agent-policy.ts';
import { ProgressMeter } from '../sftp/report/progress-meter.ts';
import { failureOutcome } from '../sftp/report/transfer-outcomes.ts';
import { TransferReport } from '../sftp/report/transfer-report.ts';
import { shownPath } from '../sftp/tree/shown-path.ts';
import type { StepContext } from '../steps/step-type.ts';
import type { FileCache } from './file-cache.ts';
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
  const { directory, release } = await staged.stage();
  try {
    const shown = shownAs(context, `${directory}/`, 'artifact ');
    const name = remotePath.split('/').findLast((part) => part !== '' && part !== '~') ?? 'files';
    const policy = { fileRoots: [{ path: directory, mayWrite: true }] };
    const outcome = shown.outcome(await run(policy, `${directory}/${name}`, shown.context));
    if (outcome.status !== 'succeeded' && outcome.status !== 'failed') return outcome;
    const sendingMs = performance.now();
    const problem = await send(directory, context, { hasFailed: outcome.status === 'failed' });
    const { executionTimeMs } = outcome;
    const took = Math.round(performance.now() - sendingMs);
    const ended =
      executionTimeMs === undefined ? outcome : { ...outcome, executionTimeMs: executionTimeMs + took };
    return ended.status === 'succeeded' && problem !== undefined ? { ...ended, ...problem } : ended;
  } finally {
    await release();
  }
}

/** Sends the artifacts. Returns the outcome of a failure; undefined if the server has everything. */
async function send(
  directory: string,
  context: StepContext,
  { hasFailed }: { hasFailed: boolean },
): Promise<StepOutcome | undefined> {
  const meter = new ProgressMeter((progress) => context.transfers.progress(progress));
  meter.start();
  try {
    const count = await sendArtifacts(directory, {
      ask: context.askServer,
      began: (name, size) => {
        meter.found(size);
        meter.began(name);
      },
      moved: (bytes) => meter.moved(bytes),
      ended: (name) => meter.ended(name),
      left: (name) => {
        const line = `${shownPath(name)}: not kept, because its name is not UTF-8 text.\n`;
        context.output.write('stderr', Buffer.from(line));
      },
    });
    const what = count === 1 ? '1 artifact' : `${count} artifacts`;
    // If the transfer failed and brought nothing, its outcome says enough.
    if (count > 0 || !hasFailed) context.output.write('stdout', Buffer.from(`${what} kept with the run.\n`));
    return undefined;
  } catch (error) {
    return failureOf(error, context, true);
  } finally {
    meter.stop();
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
  const shown = (text: string) => text.replaceAll(directory, word);
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
