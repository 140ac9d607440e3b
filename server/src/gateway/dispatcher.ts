// Leases ready steps to the agents connected here: one claim in flight, woken by news and by a slow poll.
import type { Lease } from '@opsconductor/protocol';
import type { Log } from '../log.ts';
import type { LeaseBuilder } from '../runs/lease-builder.ts';
import { markLeased } from '../runs/mark-leased.ts';
import { returnLeases, type UnbegunLease } from '../runs/return-leases.ts';
import type { ProgressNews } from '../runs/run-ledger.ts';
import { type ClaimedStep, claimSteps } from '../store/claims.ts';
import type { Sql } from '../store/connection.ts';
import type { AgentLink } from './agent-link.ts';
import type { Settler } from './settler.ts';

const pollMs = 1_000;

export interface DispatcherDeps {
  sql: Sql;
  serverId: string;
  builder: LeaseBuilder;
  settler: Settler;
  log: Log;
  linkOf(agentId: number): AgentLink | undefined;
  onNews(news: ProgressNews): void;
}

export class Dispatcher {
  readonly #deps: DispatcherDeps;
  #wanted = false;
  #running: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(deps: DispatcherDeps) {
    this.#deps = deps;
  }

  start(): void {
    this.#timer = setInterval(() => this.wake(), pollMs);
  }

  /** Something may be claimable. */
  wake(): void {
    this.#wanted = true;
    if (this.#running !== undefined || this.#stopped) return;
    this.#running = this.#run().finally(() => {
      this.#running = undefined;
    });
  }

  /** Takes nothing new; resolves when the claim in flight is done. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearInterval(this.#timer);
    await this.#running;
  }

  async #run(): Promise<void> {
    while (this.#wanted && !this.#stopped) {
      this.#wanted = false;
      try {
        const claimed = await claimSteps(this.#deps.sql, this.#deps.serverId);
        if (claimed.length === 0) continue;
        this.#wanted = true;
        await this.#deliver(claimed);
      } catch (error) {
        this.#deps.log.error({ err: error }, 'claiming steps failed');
        return;
      }
    }
  }

  async #deliver(claimed: readonly ClaimedStep[]): Promise<void> {
    const leases = await this.buildLeases(claimed);
    const byAgent = new Map<number, ClaimedStep[]>();
    for (const step of claimed) {
      if (leases.has(step.id)) byAgent.set(step.agentId, [...(byAgent.get(step.agentId) ?? []), step]);
    }
    const undelivered: ClaimedStep[] = [];
    for (const [agentId, steps] of byAgent) {
      const link = this.#deps.linkOf(agentId);
      if (link === undefined || link.sessionNumber !== steps[0]?.sessionNumber) {
        undelivered.push(...steps);
        continue;
      }
      link.lease(
        steps.flatMap((step) => {
          const lease = leases.get(step.id);
          return lease === undefined ? [] : [{ claimed: step, lease }];
        }),
      );
    }
    // The agent went away between claim and delivery: it never heard of these, so others may have them at once.
    if (undelivered.length > 0) await this.#takeBack(undelivered);
    this.#deps.onNews(await markLeased(this.#deps.sql, claimed));
  }

  async #takeBack(steps: readonly ClaimedStep[]): Promise<void> {
    for (const news of await returnLeases(this.#deps.sql, steps.map(leaseOf))) this.#deps.onNews(news);
  }

  /** Leases for claimed steps; what can't be leased any more ends failed, with the reason. */
  async buildLeases(claimed: readonly ClaimedStep[]): Promise<Map<number, Lease>> {
    const { leases, unbuildable } = await this.#deps.builder.build(claimed);
    for (const { step, message } of unbuildable) {
      await this.#deps.settler.settle({
        stepId: step.id,
        epoch: step.epoch,
        leaseToken: step.leaseToken,
        source: { kind: 'server' },
        outcome: { status: 'failed', reason: 'invalid_config', message },
        output: { state: 'complete', digest: null, gaps: [] },
      });
    }
    return leases;
  }
}

function leaseOf({ id, epoch, leaseToken, agentId }: ClaimedStep): UnbegunLease {
  return { stepId: id, epoch, leaseToken, agentId };
}
