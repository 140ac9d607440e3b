// For tests: a run of which several steps in a row are leased to one agent, most of them ahead of their turn.
import type { ClaimedStep } from '../store/queue/claims/claims.ts';
import type { UnbegunLease } from './leases/return-leases.ts';
import { endOf, success, type TestRuns } from './testing.ts';

/** What an agent asks for that takes more: the next step, and two ahead of their turn. */
export const more = { wantsNext: true, ahead: 2 };

/** Ends the first of `steps` steps, at whose end its agent is leased the next one and two more ahead of their turn. */
export async function leasedAhead(t: TestRuns, { steps = 6, targets = 1 } = {}) {
  const runId = await t.start({ steps, targets });
  const [first] = await t.claim();
  if (first === undefined) throw new Error('nothing was claimed');
  const { results } = await t.settle(endOf(first, success, more));
  const [{ next, ahead: [third, fourth] = [] } = {}] = results;
  if (next === undefined || third === undefined || fourth === undefined)
    throw new Error('nothing was leased ahead');
  return { runId, first, next, third, fourth };
}

export async function statusesOf(t: TestRuns, runId: number): Promise<string[]> {
  return (await t.steps(runId)).map(({ status }) => status);
}

export function leaseOf({ id, epoch, leaseToken, agentId }: ClaimedStep): UnbegunLease {
  return { stepId: id, epoch, leaseToken, agentId };
}

/** The agent's next session presents these attempts, from an intact journal. */
export function resumeOf(
  { agentId, sessionNumber }: { agentId: number; sessionNumber: number },
  attempts: readonly { step: ClaimedStep; state: 'leased' | 'running' | 'finished' }[],
) {
  return {
    agentId,
    sessionNumber,
    slots: 8,
    draining: false,
    version: '0.1.0',
    platform: 'linux-x64',
    hostname: null,
    journalIntact: true,
    attempts: attempts.map(({ step: { id: step, epoch, leaseToken }, state }) => ({
      step,
      epoch,
      leaseToken,
      state,
      lastSeq: 0,
    })),
  };
}
