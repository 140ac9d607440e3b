// What the request to start a run asks for.
import type { SecretParameters, Strategy, TargetSelection } from '@opsconductor/protocol';
import type { SignedGrant } from '@opsconductor/protocol/grants';
import type { RequestKey } from './start-once.ts';

export interface StartRun {
  jobId: number;
  selection: TargetSelection;
  /** Seconds; the job's own `start_within` if left out. */
  startWithinS?: number | undefined;
  /** These three replace what the job says; see `requireOverrides`. */
  priority?: number | undefined;
  strategy?: Strategy | undefined;
  timeoutS?: number | undefined;
  /** Number, tag or channel of a version; the current version if left out. */
  version?: number | string | undefined;
  parameters?: Record<string, unknown> | undefined;
  secretParameters?: SecretParameters | undefined;
  reason?: string | undefined;
  /** What the signer allows. Required if agents of the run's segments run only what is signed. */
  grant?: SignedGrant | undefined;
  /** Set if this is a rerun: the earlier run, whose version is used on targets of that run. */
  rerun?: Rerun | undefined;
  /** Ensures that the request makes only one run; see `startOnce`. */
  requested?: RequestKey | undefined;
}

export interface Rerun {
  runId: number;
  jobVersion: number;
  which: string;
  /** First step by target id, for targets that don't begin with step 1. */
  firstSteps: ReadonlyMap<number, number>;
}

/** Returns the tag or channel that was asked for, or `null`. */
export function refOf({ version }: StartRun): string | null {
  return typeof version === 'string' ? version : null;
}
