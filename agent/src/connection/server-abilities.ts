// What the server of a session knows, so that a newer agent sends an older server nothing that it can't read.
import {
  outcomeInReasons,
  type ServerCapability,
  type ServerMessageOf,
  type StepOutcome,
} from '@opsconductor/protocol';

export interface ServerAbilities {
  can(capability: ServerCapability): boolean;
  /** Returns the outcome as this server can read it. */
  readable(outcome: StepOutcome): StepOutcome;
}

/** Returns what a server can be sent, from its `welcome`; `readable` leaves out of an outcome what it doesn't know. */
export function abilitiesOf({
  capabilities,
  stepReasons,
}: Pick<ServerMessageOf<'welcome'>, 'capabilities' | 'stepReasons'>): ServerAbilities {
  const named = new Set(capabilities);
  return {
    can: (capability) => named.has(capability),
    readable: (outcome) => outcomeInReasons(knownIn(statusIn(outcome, named), named), stepReasons),
  };
}

function knownIn(outcome: StepOutcome, capabilities: ReadonlySet<string>): StepOutcome {
  const { cpuMs, peakMemoryBytes, detections, ...rest } = outcome;
  return {
    ...rest,
    ...(cpuMs === undefined || !capabilities.has('measured_use') ? {} : { cpuMs }),
    ...(peakMemoryBytes === undefined || !capabilities.has('measured_use') ? {} : { peakMemoryBytes }),
    ...(detections === undefined || !capabilities.has('detections') ? {} : { detections }),
  };
}

/** A server that knows no conditions leases no such step, but may be the one that hears of its end. */
function statusIn(outcome: StepOutcome, capabilities: ReadonlySet<string>): StepOutcome {
  if (outcome.status !== 'skipped' || capabilities.has('conditions')) return outcome;
  return { ...outcome, status: 'failed', reason: 'invalid_config' };
}
