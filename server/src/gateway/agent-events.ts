// What connected agents say about themselves and their attempts, and what this server does then.
import { type AgentMessageOf, closeCodes, type TransferProgress, visibleLine } from '@opsconductor/protocol';
import type { CheckpointFeed } from '../audit/checkpoints/checkpoint-feed.ts';
import { recordAudit } from '../audit/record-audit.ts';
import type { Log } from '../log.ts';
import type { LeaseBuilder } from '../runs/leases/lease-builder.ts';
import { type Resume, type Resumed, resumeAgents } from '../runs/leases/resume-agent.ts';
import type { AttemptEnd, SettleResult } from '../runs/progress/attempt-end.ts';
import type { ProgressNews } from '../runs/progress/run-ledger.ts';
import { setDraining } from '../store/agents/agent-sessions.ts';
import type { Sql } from '../store/database/connection.ts';
import { isRefused } from '../store/database/refused-statement.ts';
import { inTransaction } from '../store/database/transaction.ts';
import { writeTargetSilence } from '../store/queue/silent-targets.ts';
import { recordSeenHostKey } from '../targets/host-keys.ts';
import { refuseUnstorableText } from '../validation/storable-text.ts';
import { Batches } from './batches.ts';
import type { CheckpointTurns } from './checkpoint-turns.ts';
import type { Heartbeats } from './connections/heartbeats.ts';
import { capabilitiesOf } from './connections/session-capabilities.ts';
import type { SessionEnds } from './connections/session-ends.ts';
import type { HostScans } from './host-scans.ts';
import type { CleanUpAsks } from './leases/clean-up-asks.ts';
import type { Dispatcher } from './leases/dispatcher.ts';
import type { LeaseNotes } from './leases/lease-notes.ts';
import { takeBackLeases } from './leases/returned-leases.ts';
import type { Settler } from './leases/settler.ts';
import type { StopReminders } from './leases/stop-reminders.ts';
import type { TransferNews } from './leases/transfer-news.ts';
import type { AgentLink, LinkEvents } from './link/agent-link.ts';
import type { NextLeases } from './link/completions.ts';
import type { SegmentStates } from './segment-states.ts';

export interface AgentEventsDeps {
  sql: Sql;
  builder: Pick<LeaseBuilder, 'stepsAhead'>;
  checkpointFeed: Pick<CheckpointFeed, 'refused'> | undefined;
  checkpoints: Pick<CheckpointTurns, 'heard'>;
  cleanUps: Pick<CleanUpAsks, 'ask' | 'answered'>;
  dispatcher: Pick<Dispatcher, 'wake' | 'slotsFreed' | 'buildLeases' | 'buildAhead' | 'giveBack'>;
  heartbeats: Pick<Heartbeats, 'heard'>;
  log: Log;
  notes: LeaseNotes;
  scans: Pick<HostScans, 'ready' | 'scanned'>;
  segmentStates: Pick<SegmentStates, 'tell'>;
  sessionEnds: Pick<SessionEnds, 'closed'>;
  settler: Settler;
  stopReminders: Pick<StopReminders, 'heard'>;
  transfers: Pick<TransferNews, 'progressed'>;
  /** Tells this server's readers and agents what a transaction has changed. */
  publish(news: ProgressNews): void;
}

/** Sessions that are resumed together, and batches of them at the same time, as those with attempts take a while. */
const maxResumesTogether = 32;
const resumesAtATime = 3;
/** A year: what an agent says of a silent target is not believed beyond it. */
const maxSilenceMs = 31_536_000_000;

export class AgentEvents implements LinkEvents {
  readonly #deps: AgentEventsDeps;
  readonly #resumes: Batches<Resume, Resumed | undefined>;

  constructor(deps: AgentEventsDeps) {
    this.#deps = deps;
    this.#resumes = new Batches({
      most: maxResumesTogether,
      atATime: resumesAtATime,
      work: (resumes) => resumeAgents(deps.sql, resumes),
    });
  }

  // ---- messages from agents

  heartbeat(link: AgentLink, message: AgentMessageOf<'heartbeat'>): void {
    this.#deps.heartbeats.heard(link, message);
    if (message.auditSize !== undefined) void this.#deps.checkpoints.heard(link, message.auditSize);
    this.#deps.stopReminders.heard(link, message);
  }

  async resume(link: AgentLink, message: AgentMessageOf<'resume'>): Promise<void> {
    // Set before the session is ready, because from then on it is leased steps.
    link.isDraining = message.draining;
    link.capabilities = new Set(message.capabilities);
    await this.#deps.notes.flush();
    const resumed = await this.#resumes.do({
      agentId: link.agentId,
      sessionNumber: link.sessionNumber,
      slots: message.slots,
      draining: message.draining,
      version: visibleLine(message.agentVersion) || 'unknown',
      platform: visibleLine(message.platform) || 'unknown',
      hostname: visibleLine(message.hostname ?? '') || null,
      journalIntact: message.journalIntact,
      journalLoss: visibleLine(message.journalLoss ?? '') || undefined,
      capabilities: capabilitiesOf(link.agentId, message.capabilities),
      rosterNumber: message.rosterNumber,
      attempts: message.attempts,
    });
    if (resumed === undefined) {
      link.close(closeCodes.replaced, 'this session is over');
      return;
    }
    link.adopt(resumed.attempts);
    link.ready({ type: 'resumed', attempts: resumed.verdicts });
    this.#deps.notes.resumed(link, resumed.untold);
    if (resumed.unwritable.length > 0)
      this.#deps.log.error(
        { agent: link.name, steps: resumed.unwritable },
        'the rows of steps that an agent has can not be written; it keeps what it knows of them, and does its other work',
      );
    for (const end of resumed.ends) await this.#settle(end);
    this.#deps.publish(resumed.news);
    await this.#deps.segmentStates.tell(link);
    this.#deps.dispatcher.wake();
    await this.#takeBackScans(link);
    await this.#deps.cleanUps.ask();
  }

  async #takeBackScans(link: AgentLink): Promise<void> {
    try {
      await this.#deps.scans.ready(link, link.can('scan_hosts'));
    } catch (error) {
      if (!isRefused(error)) throw error;
      this.#deps.log.error(
        { err: error, agent: link.name },
        'the database refuses to take back targets that an agent was to scan before it connected again; it is given none until it connects again',
      );
    }
  }

  /** What the database refuses doesn't keep an agent from its work: the sweep, or the next resume, tries it again. */
  async #settle(end: AttemptEnd): Promise<void> {
    try {
      await this.#deps.settler.settle(end);
    } catch (error) {
      if (!isRefused(error)) throw error;
      this.#deps.log.error(
        { err: error, step: end.stepId },
        'the database refuses the end of a step that an agent has come back without; this is tried again',
      );
    }
  }

  started(link: AgentLink, message: AgentMessageOf<'started'>): void {
    const { step, epoch, survives } = message;
    const { agentId, sessionNumber } = link;
    this.#deps.notes.started({
      step,
      epoch,
      agentId,
      sessionNumber,
      ...(survives === undefined ? {} : { survives }),
    });
  }

  completing({ step, epoch }: { step: number; epoch: number }): number | undefined {
    return this.#deps.notes.ended({ step, epoch });
  }

  progressed(attempt: { runId: number; stepId: number; epoch: number }, transfer: TransferProgress): void {
    this.#deps.transfers.progressed(attempt, transfer);
  }

  async targetSilence({ agentId }: AgentLink, message: AgentMessageOf<'target_silence'>): Promise<void> {
    const { step: stepId, epoch, leaseToken, silentMs, leftMs } = message;
    const bounded = (ms: number | undefined) => (ms === undefined ? undefined : Math.min(ms, maxSilenceMs));
    const silence = { silentMs: bounded(silentMs), leftMs: bounded(leftMs) };
    await writeTargetSilence(this.#deps.sql, { stepId, epoch, leaseToken, agentId, ...silence });
  }

  async returned(link: AgentLink, message: AgentMessageOf<'return'>): Promise<void> {
    for (const news of await takeBackLeases(this.#deps, link, message)) this.#deps.publish(news);
    // The step before it may have ended meanwhile, and the slot was kept for what comes back.
    this.#deps.dispatcher.slotsFreed(link.segmentId);
  }

  async policyRead(link: AgentLink, message: AgentMessageOf<'policy_read'>): Promise<void> {
    if (link.isEnding) return;
    refuseUnstorableText(message);
    const { agentId: id, name, segmentId } = link;
    const { accepted, problem } = message;
    await inTransaction(this.#deps.sql, (tx) =>
      recordAudit(tx, {
        actor: { kind: 'agent', id, name },
        action: accepted ? 'agent.policy_reloaded' : 'agent.policy_not_reloaded',
        object: { kind: 'agent', id },
        scope: { segmentId },
        detail: { name, ...(problem === undefined ? {} : { problem }) },
      }),
    );
  }

  async hostKeySeen(link: AgentLink, message: AgentMessageOf<'host_key_seen'>): Promise<void> {
    const { segmentId } = link;
    await inTransaction(this.#deps.sql, (tx) =>
      recordSeenHostKey(tx, { targetId: message.targetId, hostKeyLine: message.hostKey, segmentId }),
    );
  }

  async hostsScanned(link: AgentLink, message: AgentMessageOf<'hosts_scanned'>): Promise<void> {
    await this.#deps.scans.scanned(link, message);
  }

  async checkpointRefused(
    link: AgentLink,
    message: AgentMessageOf<'audit_checkpoint_refused'>,
  ): Promise<void> {
    await this.#deps.checkpointFeed?.refused(link, message);
  }

  async cleanedUp(link: AgentLink, message: AgentMessageOf<'cleaned_up'>): Promise<void> {
    await this.#deps.cleanUps.answered(link, message);
  }

  async draining(link: AgentLink): Promise<void> {
    await setDraining(this.#deps.sql, link.agentId, link.sessionNumber);
  }

  stepsAhead(stepId: number): number {
    return this.#deps.builder.stepsAhead(stepId);
  }

  async settled(link: AgentLink, result: SettleResult, isSlotFree: boolean): Promise<NextLeases> {
    const { ahead = [] } = result;
    if (result.next === undefined) {
      if (isSlotFree) this.#deps.dispatcher.slotsFreed(link.segmentId);
      return { ahead: await this.#deps.dispatcher.buildAhead(link, ahead) };
    }
    const leases = await this.#deps.dispatcher.buildLeases([result.next]);
    const next = leases.get(result.next.id);
    if (next !== undefined && !link.isEnding)
      return { next, ahead: await this.#deps.dispatcher.buildAhead(link, ahead) };
    link.forget({ stepId: result.next.id, epoch: result.next.epoch });
    // The agent was shut out meanwhile and was asked for its unbegun leases before it heard of this one: others may
    // have it. What was leased to follow it goes back with it, or was closed when it failed.
    if (next !== undefined) await this.#deps.dispatcher.giveBack(result.next);
    return { ahead: [] };
  }

  closed(link: AgentLink, end: { code: number; reason: string }): void {
    this.#deps.sessionEnds.closed(link, end);
  }
}
