// What the server of a session knows, so that a newer agent tells an older server nothing that it can't read.
import {
  outcomeInReasons,
  type ServerCapability,
  type ServerMessageOf,
  type StepOutcome,
} from '@opsconductor/protocol';

export interface ServerAbilities {
  can(capability: ServerCapability): boolean;
  /** The outcome as this server can read it. */
  readable(outcome: StepOutcome): StepOutcome;
}

export function abilitiesOf({
  capabilities,
  stepReasons,
}: Pick<ServerMessageOf<'welcome'>, 'capabilities' | 'stepReasons'>): ServerAbilities {
  const named = new Set(capabilities);
  return {
    can: (capability) => named.has(capability),
    readable: (outcome) => outcomeInReasons(useIn(statusIn(outcome, named), named), stepReasons),
  };
}

function useIn(outcome: StepOutcome, capabilities: ReadonlySet<string>): StepOutcome {
  if (capabilities.has('measured_use')) return outcome;
  const { cpuMs: _, peakMemoryBytes: __, ...rest } = outcome;
  return rest;
}

/** A server that knows no conditions gives no agent such a step, but may be the one that is told of its end. */
function statusIn(outcome: StepOutcome, capabilities: ReadonlySet<string>): StepOutcome {
  if (outcome.status !== 'skipped' || capabilities.has('conditions')) return outcome;
  return { ...outcome, status: 'failed', reason: 'invalid_config' };
}
