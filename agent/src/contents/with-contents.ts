// Step types whose end on the agent's side is a file of the server, or artifacts of the run: before or behind a transfer
// between the target and a directory of the agent's own, which no policy need allow.
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

/** A transfer whose path on the agent is in the one directory that this policy allows. */
type RunTransfer = (policy: AgentPolicy, localPath: string, context: StepContext) => Promise<StepOutcome>;

/** Has a file of the server here before anything is begun on the target, and copies it from there. */
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

/** Copies into an empty directory and hands what came over to the server, also where not all of it came. */
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
    const problem = await send(directory, context, { hasFailed: outcome.status === 'failed' });
    return outcome.status === 'succeeded' && problem !== undefined ? { ...outcome, ...problem } : outcome;
  } finally {
    await release();
  }
}

/** What went wrong, as an outcome; undefined where the server has everything. */
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
        const line = `${shownPath(name)}: not kept, since its name is no UTF-8 text.\n`;
        context.output.write('stderr', Buffer.from(line));
      },
    });
    const what = count === 1 ? '1 artifact' : `${count} artifacts`;
    // Of a transfer that came to nothing its outcome says enough.
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

/** What is told of paths in a directory of ours names what they stand for. */
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
