// What is asked for where a run is started.
import type { SecretParameters, Strategy, TargetSelection } from '@opsconductor/protocol';
import type { SignedGrant } from '@opsconductor/protocol/grants';
import type { RequestKey } from './start-once.ts';

export interface StartRun {
  jobId: number;
  selection: TargetSelection;
  /** Seconds; the job's own `start_within` when left out. */
  startWithinS?: number | undefined;
  /** In place of what the job says; see `requireOverrides`. */
  priority?: number | undefined;
  strategy?: Strategy | undefined;
  timeoutS?: number | undefined;
  /** Number, tag or channel of a version; the current one when left out. */
  version?: number | string | undefined;
  parameters?: Record<string, unknown> | undefined;
  secretParameters?: SecretParameters | undefined;
  reason?: string | undefined;
  /** What its signers allow, where agents of its segments ask for that. */
  grant?: SignedGrant | undefined;
  /** The version of a run that it has had, on targets of that. */
  rerun?: Rerun | undefined;
  /** Makes a run once; see `startOnce`. */
  requested?: RequestKey | undefined;
}

export interface Rerun {
  runId: number;
  jobVersion: number;
  which: string;
  /** First step by target, where that is not step 1. */
  firstSteps: ReadonlyMap<number, number>;
}

/** The tag or channel that was asked for. */
export function refOf({ version }: StartRun): string | null {
  return typeof version === 'string' ? version : null;
}
