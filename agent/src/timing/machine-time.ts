// A time that later processes on this machine can tell how long ago it was. The wall clock can't always: it may have been
// set meanwhile, and an hour that never passed would end a command whose time is not up.
import { readFileSync } from 'node:fs';
import { type Static, Type } from 'typebox';

/** `ms`: on the machine's monotonic clock, which starts anew at each boot. */
export const MachineTimeSchema = Type.Object({ boot: Type.String(), ms: Type.Number() });
export type MachineTime = Static<typeof MachineTimeSchema>;

/** Returns that time for the journal; nothing where boots have no ids. */
export function machineTimeBefore(agoMs: number): { machineTime?: MachineTime } {
  const boot = thisBoot();
  return boot === undefined ? {} : { machineTime: { boot, ms: nowMs() - agoMs } };
}

/**
 * Returns how long ago that was, in ms: by the wall clock (`at`, ISO 8601) only if the machine has been started since.
 */
export function msSince(at: string, time: MachineTime | undefined): number {
  const byMachine = time === undefined || time.boot !== thisBoot() ? -1 : nowMs() - time.ms;
  // The clock of a container may begin anew without a boot.
  return byMachine >= 0 ? byMachine : Math.max(0, Date.now() - Date.parse(at));
}

function nowMs(): number {
  return Number(process.hrtime.bigint() / 1_000_000n);
}

let boot: string | undefined;

function thisBoot(): string | undefined {
  try {
    boot ??= readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch {
    // Not Linux, or no /proc.
  }
  return boot;
}
