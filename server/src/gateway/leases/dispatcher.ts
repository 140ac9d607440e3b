// Leases ready steps to the agents connected here. One claim is in flight at a time; it is woken by news and by a slow
// poll.
import type { Lease, StepOutcome } from '@opsconductor/protocol';
import type { Log } from '../../log.ts';
import { allOrEach } from '../../runs/ends/each-of.ts';
import type { ClaimAlong } from '../../runs/leases/claim-along.ts';
import type { LeaseBuilder } from '../../runs/leases/lease-builder.ts';
import { returnLeases, type UnbegunLease } from '../../runs/leases/return-leases.ts';
import { neverBegunEnd } from '../../runs/progress/never-begun-end.ts';
import type { ProgressNews } from '../../runs/progress/run-ledger.ts';
import { closeSession } from '../../store/agents/agent-sessions.ts';
import { leaveToAbleAgents } from '../../store/agents/unable-agents.ts';
import type { Sql } from '../../store/database/connection.ts';
import { isDatabaseAway } from '../../store/database/database-lost.ts';
import { isRefused } from '../../store/database/refused-statement.ts';
import {
  type Claim,
  type ClaimedStep,
  claimOnce,
  type GivenUpLease,
  givenUpOfClaims,
  leasesOfClaims,
  newClaimId,
  type UntoldLease,
} from '../../store/queue/claims/claims.ts';
import { leaseFor, type TooOld } from '../connections/agent-too-old.ts';
import type { AgentLink } from '../link/agent-link.ts';
import { announceSteps } from './announce-steps.ts';
import { Claimer } from './claimer.ts';
import type { LeaseNotes } from './lease-notes.ts';
import type { Settler } from './settler.ts';

const defaultPollMs = 1_000;
/** How long to look for a claim whose answer was lost: it may still be running in the database. */
const lookForLostClaimMs = 60_000;
/** Pause before steps that the database refused to take back are tried again. */
const takeBackAgainMs = 1_000;
/**
 * How long steps that this server can't open, or that went to a session without a connection, are given to nobody. After
 * that, the first server to look gets them.
 */
const givenToNobodyS = 10;

export interface DispatcherDeps {
  sql: Sql;
  serverId: string;
  builder: Pick<LeaseBuilder, 'build'>;
  settler: Settler;
  notes: Pick<LeaseNotes, 'leased'>;
  log: Log;
  linkOf(agentId: number): AgentLink | undefined;
  /** Returns the links of the agents connected here. */
  links(): Iterable<AgentLink>;
  onNews(news: ProgressNews): void;
  /** Time between looks for work that nobody announced, in ms; 1 s by default. */
  pollMs?: number | undefined;
}

export class Dispatcher {
  readonly #deps: DispatcherDeps;
  readonly #claimer: Claimer;
  #wanted = false;
  /** Whether the last claim may have left steps because there were no free slots. */
  #leftSome = true;
  /** Claimed steps that have been neither delivered nor returned yet. */
  #undelivered: UntoldLease[] = [];
  /** Those of them that the database refused to take back: they must not keep others from being leased. */
  #refused: UntoldLease[] = [];
  #refusedAtMs = Number.NEGATIVE_INFINITY;
  /**
   * Claims whose answer was lost, by id, with the time of the loss. If they have leased anything, no agent knows of it.
   */
  readonly #lost = new Map<string, number>();
  #running: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(deps: DispatcherDeps) {
    this.#deps = deps;
    const { sql, serverId, log } = deps;
    this.#claimer = new Claimer({ sql, serverId, log, held: (segmentIds) => this.#held(segmentIds) });
  }

  start(): void {
    this.#timer = setInterval(() => this.wake(), this.#deps.pollMs ?? defaultPollMs);
  }

  /** Tells that there may be something to claim. */
  wake(): void {
    this.#claimer.lookAtAll();
    this.#claimAgain();
  }

  #claimAgain(): void {
    this.#wanted = true;
    if (this.#running !== undefined || this.#stopped) return;
    this.#running = this.#run().finally(() => {
      this.#running = undefined;
    });
  }

  /** Tells that an agent of this segment has free slots again. */
  slotsFreed(segmentId: number): void {
    this.#claimer.slotsFreed(segmentId);
    if (this.#leftSome || this.#running !== undefined) this.#claimAgain();
  }

  /**
   * Makes a claim part of another transaction, instead of a separate one. Returns `undefined` while a claim is in
   * flight.
   */
  claimAlong(): ClaimAlong | undefined {
    if (this.#running !== undefined || this.#stopped || !this.#claimer.mayGoAlong) return undefined;
    if (this.#undelivered.length + this.#refused.length > 0) return undefined;
    const claimId = newClaimId();
    let claim: Claim | undefined;
    let over = (_committed: boolean) => {};
    const ended = new Promise<boolean>((resolve) => {
      over = resolve;
    });
    this.#running = this.#followUp(ended, claimId, () => claim).finally(() => {
      this.#running = undefined;
    });
    return {
      claim: async (tx, run) => {
        // If others may be waiting for a slot, too, the claim isn't for this run alone.
        claim = this.#leftSome
          ? await claimOnce(tx, this.#deps.serverId, { claimId })
          : await this.#claimer.along(tx, claimId, run);
        announceSteps(claim.steps, this.#deps.linkOf);
      },
      over,
    };
  }

  async #followUp(ended: Promise<boolean>, claimId: string, claimed: () => Claim | undefined): Promise<void> {
    const committed = await ended;
    const claim = claimed();
    try {
      if (claim !== undefined && committed) {
        // The claim was for one kind of agent, and possibly for one run only; others may take what it has left.
        if (claim.kinds > 1 || !claim.tookAll) this.#claimer.lookAtAll();
        this.#wanted ||= claim.kinds > 1;
        await this.#handOut(claim);
      }
      // If the answer to the commit was lost, the steps may be leased all the same.
      else this.#lookFor(claimId);
    } catch (error) {
      // Undelivered steps are known. Looking for the whole claim would take back steps that agents have been told of.
      this.#deps.log.error(
        { err: error },
        'claimed steps could not be handed to agents; those that no agent was told of are taken back',
      );
      this.#wanted = true;
    }
    await this.#run();
  }

  /** Takes nothing new, and resolves when the claim in flight is done. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearInterval(this.#timer);
    await this.#running;
  }

  async #run(): Promise<void> {
    while (this.#wanted && !this.#stopped) {
      this.#wanted = false;
      try {
        await this.#findLost();
        await this.#takeBack();
        await this.#handOut(await this.#claim());
      } catch (error) {
        this.#deps.log.error(
          { err: error },
          'steps could not be claimed for agents; this is retried every second',
        );
        return;
      }
    }
  }

  #held(segmentIds: ReadonlySet<number>): { agentId: number; steps: number }[] {
    // How many steps an agent has that is just reconnecting isn't known here before it is ready.
    const ready = [...this.#deps.links()].filter(
      (link) => segmentIds.has(link.segmentId) && link.isReady && link.isOpen,
    );
    return ready.map(({ agentId, slotsTaken, expected }) => ({ agentId, steps: slotsTaken + expected }));
  }

  #lookFor(claimId: string): void {
    this.#lost.set(claimId, performance.now());
    this.#wanted = true;
  }

  async #claim(): Promise<Claim> {
    const claimId = newClaimId();
    try {
      return await this.#claimer.next(claimId);
    } catch (error) {
      this.#lost.set(claimId, performance.now());
      throw error;
    }
  }

  async #findLost(): Promise<void> {
    if (this.#lost.size === 0) return;
    const askedAt = performance.now();
    const { sql, serverId, links, log } = this.#deps;
    const claimIds = [...this.#lost.keys()];
    const found = await leasesOfClaims(sql, serverId, claimIds);
    // Those of agents that have no connection here are told of by the next resume.
    for (const lease of await givenUpOfClaims(sql, [...links()], claimIds)) await this.#endUnbegun(lease);
    for (const [claimId, lostAt] of this.#lost) {
      if (askedAt - lostAt > lookForLostClaimMs) this.#lost.delete(claimId);
    }
    if (found.length === 0) return;
    log.warn(
      { steps: found.map(({ id }) => id) },
      'taking back leases that no agent was told of; other agents may get these steps',
    );
    this.#undelivered.push(...found);
  }

  /** Its run was cancelled by force before the lease was taken back. That it never began is known all the same. */
  async #endUnbegun(lease: GivenUpLease): Promise<void> {
    const { settler, log } = this.#deps;
    try {
      await settler.settle(neverBegunEnd(lease));
    } catch (error) {
      if (!isRefused(error)) throw error;
      log.error(
        { err: error, step: lease.stepId },
        'the database refuses to record that a step was never begun; it stays unknown until its agent connects again',
      );
    }
  }

  async #handOut({ steps: claimed, tookAll, again, moved }: Claim): Promise<void> {
    this.#leftSome = !tookAll;
    this.#wanted ||= moved > 0;
    if (claimed.length === 0) return;
    this.#wanted ||= again;
    this.#undelivered = claimed;
    this.#undelivered = this.#deliver(claimed, await this.buildLeases(claimed));
    const undelivered = new Set(this.#undelivered.map(({ id }) => id));
    this.#deps.notes.leased(claimed.filter(({ id }) => !undelivered.has(id)));
    await this.#takeBack();
  }

  /** Delivers the leases. Returns the steps whose agents are no longer connected here, or are about to be shut out. */
  #deliver(claimed: readonly ClaimedStep[], leases: ReadonlyMap<number, Lease>): ClaimedStep[] {
    const byAgent = new Map<number, ClaimedStep[]>();
    for (const step of claimed) {
      if (leases.has(step.id)) byAgent.set(step.agentId, [...(byAgent.get(step.agentId) ?? []), step]);
    }
    const undelivered: ClaimedStep[] = [];
    for (const [agentId, steps] of byAgent) {
      const link = this.#deps.linkOf(agentId);
      // An agent that is being shut out was already asked for its unbegun leases: it couldn't hand back what it gets
      // after that.
      if (link === undefined || link.isEnding || link.sessionNumber !== steps[0]?.sessionNumber) {
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
    return undelivered;
  }

  /** Takes back steps that their agents never heard of, so others may have them at once. */
  async #takeBack(): Promise<void> {
    if (this.#refused.length > 0 && performance.now() - this.#refusedAtMs >= takeBackAgainMs)
      this.#undelivered.push(...this.#refused.splice(0));
    if (this.#undelivered.length === 0) return;
    const { linkOf } = this.#deps;
    const unclosed = new Set<number>();
    for (const { agentId, sessionNumber } of this.#undelivered) {
      // A session without a connection, whose end wasn't recorded, would be given the same steps again.
      if (linkOf(agentId)?.sessionNumber !== sessionNumber && !unclosed.has(agentId))
        if (!(await this.#closeSession(agentId, sessionNumber))) unclosed.add(agentId);
    }
    const isUnclosed = ({ agentId }: UntoldLease) => unclosed.has(agentId);
    await allOrEach(
      this.#undelivered.filter((lease) => !isUnclosed(lease)),
      (leases) => this.#returnAll(leases),
    );
    await allOrEach(this.#undelivered.filter(isUnclosed), (leases) =>
      this.#returnAll(leases, { inS: givenToNobodyS }),
    );
    this.#undelivered = [];
  }

  /** Returns false if the database refuses that: until it expires, the session would be given steps again and again. */
  async #closeSession(agentId: number, sessionNumber: number): Promise<boolean> {
    try {
      await closeSession(this.#deps.sql, agentId, sessionNumber, false);
      return true;
    } catch (error) {
      if (!isRefused(error)) throw error;
      this.#deps.log.error(
        { err: error, agent: agentId },
        'the database refuses to record that an agent is gone; steps that it was to get are given out again in ten seconds',
      );
      return false;
    }
  }

  /** @throws {Error} if there is more than one, or if the database takes nothing at the moment. */
  async #returnAll(leases: readonly UntoldLease[], options: { inS?: number } = {}): Promise<void> {
    const { sql, log, onNews } = this.#deps;
    try {
      for (const news of await returnLeases(sql, leases.map(leaseOf), options)) onNews(news);
    } catch (error) {
      const [lease] = leases;
      if (lease === undefined || leases.length > 1 || isDatabaseAway(error)) throw error;
      log.error(
        { err: error, step: lease.id },
        'a step that no agent was told of could not be taken back; this is retried every second',
      );
      this.#refused.push(lease);
      this.#refusedAtMs = performance.now();
    }
  }

  /**
   * Builds the leases for claimed steps. Steps that can no longer be leased end failed, with the reason. Steps that
   * their agent is too old for go to another agent of the segment if one is able. Steps that this server can't open
   * wait for another server.
   */
  async buildLeases(claimed: readonly ClaimedStep[]): Promise<Map<number, Lease>> {
    const { leases, unbuildable, elsewhere } = await this.#deps.builder.build(claimed);
    await this.#ifTaken(elsewhere, () => this.#leaveToOthers(elsewhere));
    for (const { step, message } of unbuildable)
      await this.#ifTaken([step], () => this.#fail(step, { reason: 'invalid_config', message }));
    const unfit: { step: ClaimedStep; tooOld: TooOld }[] = [];
    for (const step of claimed) {
      const lease = leases.get(step.id);
      const link = this.#deps.linkOf(step.agentId);
      // The lease belongs to another session, so it isn't delivered.
      if (lease === undefined || link?.sessionNumber !== step.sessionNumber) continue;
      const given = leaseFor(link, lease);
      if ('need' in given) {
        leases.delete(step.id);
        unfit.push({ step, tooOld: given });
      } else leases.set(step.id, given);
    }
    await this.#ifTaken(
      unfit.map(({ step }) => step),
      () => this.#giveUp(unfit),
    );
    return leases;
  }

  /** Steps that can be neither leased nor given up must not keep others from being leased. */
  async #ifTaken(steps: readonly ClaimedStep[], work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (isDatabaseAway(error)) throw error;
      this.#deps.log.error(
        { err: error, steps: steps.map(({ id }) => id) },
        'steps that can not be leased could not be given up either; they become unknown when their time is over',
      );
    }
  }

  /**
   * Builds the leases of steps that were leased ahead of their turn, in the order in which they follow. Those from the
   * first that the agent can't be given are given back, and decided on when their turn has come.
   */
  async buildAhead(
    link: AgentLink,
    steps: readonly ClaimedStep[],
  ): Promise<{ claimed: ClaimedStep; lease: Lease }[]> {
    if (steps.length === 0) return [];
    const { leases } = await this.#deps.builder.build(steps);
    const built: { claimed: ClaimedStep; lease: Lease }[] = [];
    for (const claimed of steps) {
      const lease = leases.get(claimed.id);
      const given = lease === undefined || link.isEnding ? undefined : leaseFor(link, lease);
      if (given === undefined || 'need' in given) {
        // What follows it goes back with it.
        await this.giveBack(claimed);
        break;
      }
      built.push({
        claimed,
        lease: { ...given, ...(claimed.after === undefined ? {} : { after: claimed.after }) },
      });
    }
    return built;
  }

  /** Gives back a step that its agent never heard of, so others may have it at once. */
  async giveBack(step: ClaimedStep): Promise<void> {
    const { sql, onNews } = this.#deps;
    for (const news of await returnLeases(sql, [leaseOf(step)])) onNews(news);
  }

  /** Gives steps back for a server that holds their master key; for ten seconds, nobody is leased them. */
  async #leaveToOthers(steps: readonly ClaimedStep[]): Promise<void> {
    if (steps.length === 0) return;
    const { sql, log, onNews } = this.#deps;
    log.error(
      { runs: [...new Set(steps.map(({ jobRunId }) => jobRunId))] },
      'this server does not hold the master key of these runs; their steps wait for a server that does, and are retried in ten seconds (compare servers with npm run keys -- status)',
    );
    for (const news of await returnLeases(sql, steps.map(leaseOf), { inS: givenToNobodyS })) onNews(news);
  }

  async #giveUp(unfit: readonly { step: ClaimedStep; tooOld: TooOld }[]): Promise<void> {
    if (unfit.length === 0) return;
    const { sql, onNews } = this.#deps;
    const left = await leaveToAbleAgents(
      sql,
      unfit.map(({ step, tooOld }) => ({ ...leaseOf(step), need: tooOld.need })),
    );
    const back = unfit.filter(({ step }) => left.has(step.id)).map(({ step }) => leaseOf(step));
    if (back.length > 0) for (const news of await returnLeases(sql, back)) onNews(news);
    for (const { step, tooOld } of unfit) {
      if (!left.has(step.id)) await this.#fail(step, tooOld.outcome);
    }
  }

  async #fail(step: ClaimedStep, why: Pick<StepOutcome, 'reason' | 'message' | 'advice'>): Promise<void> {
    await this.#deps.settler.settle({
      stepId: step.id,
      epoch: step.epoch,
      leaseToken: step.leaseToken,
      source: { kind: 'server' },
      outcome: { status: 'failed', ...why },
      output: { state: 'complete', digest: null, gaps: [] },
    });
    // Its slot is free now, and no agent will report that.
    this.wake();
  }
}

function leaseOf({ id, epoch, leaseToken, agentId }: UntoldLease): UnbegunLease {
  return { stepId: id, epoch, leaseToken, agentId };
}
