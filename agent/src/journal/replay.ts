// What a journal's lines say about each attempt that is not settled.
import type { Lease, TakenOver } from '@opsconductor/protocol';
import type { MachineTime } from '../timing/machine-time.ts';
import { GrantBegins } from './grant-begins.ts';
import type { FinishedRecord, JournalRecord } from './journal-record.ts';
import { decodeRecord } from './journal-record.ts';

export interface JournaledAttempt {
  step: number;
  epoch: number;
  leaseToken: string;
  /** When it was begun (ISO 8601); undefined while it is only leased. */
  startedAt?: string;
  machineTime?: MachineTime;
  /** Its lease, if the command outlives the process that began it. */
  survives?: Lease;
  /** What another agent had done, if this one has taken it over. */
  takenOver?: TakenOver;
  finished?: FinishedRecord;
}

export interface Replay {
  attempts: Map<string, JournaledAttempt>;
  grants: GrantBegins;
  /** Id of the loss that was not yet reported, if nothing else is wrong. */
  loss?: string | undefined;
  /** False if a line other than a torn last one can't be read, or if an earlier loss was not yet reported. */
  intact: boolean;
  /** Bytes up to the end of the last readable line; the rest is torn. */
  soundBytes: number;
}

export function attemptKey(attempt: { step: number; epoch: number }): string {
  return `${attempt.step}-${attempt.epoch}`;
}

/**
 * Applies the records of a journal in their order. A part without a line end at its end is no damage: a crash during a
 * write leaves it.
 */
export function replay(content: Buffer): Replay {
  const attempts = new Map<string, JournaledAttempt>();
  const grants = new GrantBegins();
  let intact = true;
  let loss: string | undefined;
  let soundBytes = 0;
  let at = 0;
  while (at < content.length) {
    const newline = content.indexOf(10, at);
    const end = newline === -1 ? content.length : newline;
    const record = newline === -1 ? undefined : decodeRecord(content.toString('utf8', at, end));
    at = end + 1;
    if (record === undefined) {
      // A crash in the middle of a write leaves a part without a line end. A whole line that can't be read is damage.
      if (newline !== -1) [intact, loss] = [false, undefined];
      continue;
    }
    soundBytes = at;
    if (record.is === 'damaged') [intact, loss] = [false, record.loss];
    else if (record.is === 'reconciled') [intact, loss] = [true, undefined];
    else if (record.is === 'granted' || record.is === 'grants_lost') grants.apply(record);
    else if (!applyRecord(attempts, record)) [intact, loss] = [false, undefined];
  }
  return { attempts, grants, intact, loss, soundBytes };
}

/** Applies one record. Returns false if it contradicts what is known, which means that an earlier line is missing. */
export function applyRecord(
  attempts: Map<string, JournaledAttempt>,
  record: Exclude<JournalRecord, { is: 'damaged' | 'reconciled' | 'granted' | 'grants_lost' }>,
): boolean {
  const key = attemptKey(record);
  const { step, epoch } = record;
  switch (record.is) {
    case 'leased':
      attempts.set(key, { step, epoch, leaseToken: record.leaseToken });
      return true;
    case 'starting':
      attempts.set(key, {
        step,
        epoch,
        leaseToken: record.leaseToken,
        startedAt: record.at,
        ...(record.machineTime === undefined ? {} : { machineTime: record.machineTime }),
        ...(record.survives === undefined ? {} : { survives: record.survives }),
        ...(record.takenOver === undefined ? {} : { takenOver: record.takenOver }),
      });
      return true;
    case 'finished': {
      const attempt = attempts.get(key);
      if (attempt === undefined) return false;
      attempt.finished = record;
      return true;
    }
    case 'settled':
      attempts.delete(key);
      return true;
  }
}

/** Returns the fewest records that describe the attempt. */
export function recordsOf(attempt: JournaledAttempt): JournalRecord[] {
  const { step, epoch, leaseToken, startedAt, machineTime, survives, takenOver, finished } = attempt;
  const first: JournalRecord =
    startedAt === undefined
      ? { is: 'leased', step, epoch, leaseToken }
      : {
          is: 'starting',
          step,
          epoch,
          leaseToken,
          at: startedAt,
          ...(machineTime === undefined ? {} : { machineTime }),
          ...(survives === undefined ? {} : { survives }),
          ...(takenOver === undefined ? {} : { takenOver }),
        };
  return finished === undefined ? [first] : [first, finished];
}
