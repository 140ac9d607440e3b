// For tests: a run whose first step was leased to an agent, and what that agent says about it.
import type { AgentMessageOf, Lease, OutputFrame } from '@opsconductor/protocol';
import { chunkOf } from '../../runs/output/output-testing.ts';
import type { ClaimedStep } from '../../store/queue/claims/claims.ts';
import { type AgentSocket, chainOf, setupGateway } from '../testing.ts';

/** Starts a run of one target whose first step is leased to the agent. */
export async function leased(options: { steps?: number } = {}) {
  const t = await setupGateway();
  const agent = await t.connectAgent();
  const runId = await t.start(options);
  const { leases } = await agent.next('leases');
  const lease = leases[0];
  if (lease === undefined) throw new Error('no lease');
  return Object.assign(t, { agentSocket: agent, runId, lease });
}

export function chunk(lease: Lease, seq: number, text: string): OutputFrame {
  return chunkOf({ id: lease.step, epoch: lease.epoch } as ClaimedStep, seq, text);
}

export function completion(
  lease: Lease,
  frames: readonly OutputFrame[],
  more: Partial<AgentMessageOf<'complete'>> = {},
): AgentMessageOf<'complete'> {
  const { step, epoch, leaseToken } = lease;
  return {
    type: 'complete',
    requestId: 'request-1',
    step,
    epoch,
    leaseToken,
    outcome: { status: 'succeeded', exitCode: 0 },
    output: { ...claim(frames), truncated: false, gaps: [] },
    wantsNext: true,
    ...more,
  };
}

export function claim(frames: readonly OutputFrame[]) {
  const rawBytes = frames.reduce((sum, frame) => sum + frame.rawLength, 0);
  return { lastSeq: frames.at(-1)?.seq ?? 0, rawBytes, digest: chainOf(frames) };
}

export async function beat(agent: AgentSocket, sequence: number, held: [number, number][]): Promise<void> {
  agent.send({ type: 'heartbeat', sequence, held });
  await agent.next('heartbeat_ack');
}
