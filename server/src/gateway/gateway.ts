// Holds the agents' connections: registry, heartbeats, claims, and notifications from the bus.
import { randomUUID } from 'node:crypto';
import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import {
  type AgentMessageOf,
  closeCodes,
  limits,
  type TransferProgress,
  visibleLine,
} from '@opsconductor/protocol';
import type { WebSocket } from 'ws';
import type { CheckpointFeed } from '../audit/checkpoint-feed.ts';
import { recordAudit } from '../audit/record-audit.ts';
import { AppError } from '../errors.ts';
import type { AgentContents } from '../files/agent-contents.ts';
import type { Log } from '../log.ts';
import type { CleanUpRequests } from '../runs/ends/clean-up-requests.ts';
import type { ClaimAlong, ClaimsAlong } from '../runs/leases/claim-along.ts';
import type { LeaseBuilder } from '../runs/leases/lease-builder.ts';
import { type Resume, type Resumed, resumeAgents } from '../runs/leases/resume-agent.ts';
import type { LiveHub } from '../runs/live/live-hub.ts';
import type { OutputWriter } from '../runs/output/output-writer.ts';
import type { ProgressNews } from '../runs/progress/run-ledger.ts';
import type { SettleResult } from '../runs/progress/settle-attempts.ts';
import type { RunKeys } from '../runs/run-keys.ts';
import type { TransferTaker } from '../runs/transfers/take-transfers.ts';
import type { HandedOnValues } from '../runs/values/handed-on.ts';
import { segmentStateFor } from '../segments/segment-state.ts';
import { refuseUnstorableText } from '../storable-text.ts';
import { noteClose, type ShutOut } from '../store/agents/agent-lifecycle.ts';
import { closeSession, hasAgents, setDraining } from '../store/agents/agent-sessions.ts';
import type { Sql } from '../store/database/connection.ts';
import { type ForgetNotice, listen, type ProgressNotice } from '../store/database/notifications.ts';
import { inTransaction } from '../store/database/transaction.ts';
import { attemptsToStop } from '../store/queue/sweep.ts';
import type { ContactNotes } from '../targets/contact-notes.ts';
import { recordSeenHostKey } from '../targets/host-keys.ts';
import type { TargetTester, TargetTestRequest } from '../targets/test-target.ts';
import { Batches } from './batches.ts';
import { CheckpointTurns } from './checkpoint-turns.ts';
import { type Accepted, AgentAcceptor } from './connections/agent-acceptor.ts';
import { agentTooOld } from './connections/agent-too-old.ts';
import type { HandshakeSettings, ServerIdentity } from './connections/handshake.ts';
import { Heartbeats } from './connections/heartbeats.ts';
import { Links } from './connections/links.ts';
import { capabilitiesOf } from './connections/session-capabilities.ts';
import { shutOut, shutOutOfLinks } from './connections/shut-outs.ts';
import { HeardNews } from './heard-news.ts';
import { HostScans } from './host-scans.ts';
import { KeyMessages } from './key-messages.ts';
import { announceSteps } from './leases/announce-steps.ts';
import { CleanUpAsks } from './leases/clean-up-asks.ts';
import { Dispatcher } from './leases/dispatcher.ts';
import { LeaseNotes } from './leases/lease-notes.ts';
import { takeBackLeases } from './leases/returned-leases.ts';
import { Settler } from './leases/settler.ts';
import { StopReminders } from './leases/stop-reminders.ts';
import { TakeOvers } from './leases/take-overs.ts';
import { TransferNews } from './leases/transfer-news.ts';
import { AgentLink, type LinkEvents } from './link/agent-link.ts';
import type { NextLeases } from './link/completions.ts';
import { RemoteTests, type TestAnswer } from './remote-tests.ts';
import { SegmentStates } from './segment-states.ts';

export interface GatewayDeps {
  sql: Sql;
  identity: ServerIdentity;
  settings?: HandshakeSettings;
  builder: Pick<LeaseBuilder, 'build' | 'stepsAhead'>;
  writer: OutputWriter;
  keys: RunKeys;
  hub: LiveHub;
  log: Log;
  isAllowedHost(host: string | undefined): boolean;
  /** Gives agents the newest checkpoint of the audit log to keep. */
  checkpoints?: Pick<CheckpointFeed, 'offer' | 'refused'>;
  /** Says what agents have to clean up after. */
  cleanUps?: Pick<CleanUpRequests, 'requestFor' | 'answered'>;
  /** Takes what steps hand on; without it, that is dropped. */
  handedOn?: Pick<HandedOnValues, 'take'>;
  /** Takes what steps report of the files that they have moved; without it, that is dropped. */
  transfers?: Pick<TransferTaker, 'take'>;
  /** Gives agents files and takes artifacts from them; without it, both are refused. */
  contents?: Pick<AgentContents, 'answer'>;
  /** Notified of each attempt that was settled. */
  contacts?: Pick<ContactNotes, 'note'>;
  /** Takes a generation of the segment key that an agent made; returns false if none is wanted. */
  takeKeyGeneration?(agentId: number, offer: AgentMessageOf<'segment_key_made'>): Promise<boolean>;
  /** Takes keys that an agent has made to replace its own. */
  takeNewKeys?(agentId: number, offer: AgentMessageOf<'new_keys'>): Promise<void>;
  /**
   * Told whose sessions, tokens or rights have changed, so that they must be read again; `undefined` if notices may
   * have been missed.
   */
  onForget?(notice: ForgetNotice | undefined): void;
  maxUnauthenticatedPerAddress?: number;
  /** Whether a proxy in front adds the agent's address to X-Forwarded-For. */
  behindTlsProxy?: boolean;
  /** Time between looks for work that nobody announced, in ms; 1 s by default. */
  claimPollMs?: number;
  /** Time between looks for what agents have to clean up after, in ms; 5 s by default. */
  cleanUpRoundMs?: number;
}

const defaultSettings: HandshakeSettings = {
  heartbeatIntervalMs: limits.heartbeatIntervalMs,
  leaseTtlMs: limits.leaseTtlMs,
};
/** Sessions that are resumed together, and batches of them at the same time, as those with attempts take a while. */
const maxResumesTogether = 32;
const resumesAtATime = 3;
const silenceCheckMs = 1_000;

export class Gateway implements LinkEvents, TargetTester, ClaimsAlong {
  readonly settler: Settler;
  readonly #deps: GatewayDeps;
  readonly #settings: HandshakeSettings;
  readonly #acceptor: AgentAcceptor;
  readonly #dispatcher: Dispatcher;
  readonly #notes: LeaseNotes;
  readonly #scans: HostScans;
  readonly #transfers: TransferNews;
  readonly #segmentStates: SegmentStates;
  readonly #stopReminders: StopReminders;
  readonly #remoteTests: RemoteTests;
  readonly #resumes: Batches<Resume, Resumed | undefined>;
  readonly #heard = new HeardNews();
  readonly #links = new Links();
  readonly #closing = new Set<Promise<unknown>>();
  readonly #heartbeats: Heartbeats;
  readonly #keys: KeyMessages;
  #silenceTimer: NodeJS.Timeout | undefined;
  readonly #checkpoints: CheckpointTurns;
  readonly #cleanUps: CleanUpAsks;
  readonly #takeOvers: TakeOvers;
  #listener: { stop(): Promise<void> } | undefined;

  constructor(deps: GatewayDeps) {
    this.#deps = deps;
    this.#settings = deps.settings ?? defaultSettings;
    this.settler = new Settler(
      deps.sql,
      (news) => this.publish(news),
      deps.contacts,
      (steps) => announceSteps(steps, (agentId) => this.#links.open(agentId)),
    );
    this.#acceptor = new AgentAcceptor({
      ...deps,
      settings: this.#settings,
      accept: (socket, agent, stream, address) => this.#accept(socket, agent, stream, address),
    });
    this.#checkpoints = new CheckpointTurns({ feed: deps.checkpoints, agents: () => this.#links.size });
    this.#cleanUps = new CleanUpAsks({
      sql: deps.sql,
      requests: deps.cleanUps,
      links: () => this.#links,
      roundMs: deps.cleanUpRoundMs,
      log: deps.log,
    });
    this.#takeOvers = new TakeOvers({
      ...{
        sql: deps.sql,
        serverId: deps.identity.serverId,
        builder: deps.builder,
        settler: this.settler,
        keys: deps.keys,
        log: deps.log,
      },
      links: () => this.#links,
      linkOf: (agentId) => this.#links.open(agentId),
      onNews: (news) => this.publish(news),
      roundMs: deps.claimPollMs,
    });
    this.#scans = new HostScans(deps);
    this.#transfers = new TransferNews({
      sql: deps.sql,
      hub: deps.hub,
      serverId: deps.identity.serverId,
      log: deps.log,
    });
    this.#segmentStates = new SegmentStates({
      read: (agentId) => segmentStateFor(deps.sql, agentId),
      log: deps.log,
    });
    this.#heartbeats = new Heartbeats({
      ...{ sql: deps.sql, log: deps.log, leaseTtlMs: this.#settings.leaseTtlMs },
      connected: () => this.#links.ready(),
      onOver: (links) => this.#endOver(links),
    });
    this.#keys = new KeyMessages({ ...deps, onReady: () => this.#dispatcher.wake() });
    this.#stopReminders = new StopReminders(deps);
    this.#remoteTests = new RemoteTests({
      sql: deps.sql,
      serverId: deps.identity.serverId,
      log: deps.log,
      hasAgent: (segmentId) => this.#links.ready(segmentId).length > 0,
      testHere: async (request) => (await this.#testHere(request)) ?? 'offline',
    });
    this.#resumes = new Batches({
      most: maxResumesTogether,
      atATime: resumesAtATime,
      work: (resumes) => resumeAgents(deps.sql, resumes),
    });
    this.#notes = new LeaseNotes({ sql: deps.sql, log: deps.log, onNews: (news) => this.publish(news) });
    this.#dispatcher = new Dispatcher({
      sql: deps.sql,
      serverId: deps.identity.serverId,
      builder: deps.builder,
      settler: this.settler,
      notes: this.#notes,
      log: deps.log,
      links: () => this.#links,
      linkOf: (agentId) => this.#links.open(agentId),
      pollMs: deps.claimPollMs,
      onNews: (news) => this.publish(news),
    });
  }

  async start(server: Pick<Server, 'on'>): Promise<void> {
    this.#acceptor.attach(server);
    this.#dispatcher.start();
    this.#scans.start();
    this.#silenceTimer = setInterval(() => this.#endSilentLinks(), silenceCheckMs);
    this.#cleanUps.start();
    this.#takeOvers.start();
    this.#listener = await listen(this.#deps.sql, {
      progress: (notice) => this.publish(notice),
      output: (marks) => this.#deps.hub.publishSteps(marks),
      session: (agentId, sessionNumber, shutOut) => this.#endOlderSession(agentId, sessionNumber, shutOut),
      segment: (segmentId) => this.#sendSegmentStates(segmentId),
      scans: (cancelledId) =>
        cancelledId === undefined ? this.#scans.wake() : this.#scans.cancel(cancelledId),
      forget: (notice) => this.#deps.onForget?.(notice),
      transfers: (payload) => this.#transfers.heard(payload),
      asked: (id, segmentId) => this.#remoteTests.asked(id, segmentId),
      answered: (id) => this.#remoteTests.answered(id),
      resync: () => {
        this.#deps.onForget?.(undefined);
        this.#deps.hub.wakeAll();
        this.#dispatcher.wake();
        void shutOutOfLinks(this.#deps, [...this.#links]);
        this.#sendSegmentStates();
        this.#scans.wake();
      },
    });
  }

  /** Drains: leases nothing more, tells agents to connect elsewhere, and commits what is in flight. */
  async stop(): Promise<void> {
    clearInterval(this.#silenceTimer);
    await this.#cleanUps.stop();
    await this.#takeOvers.stop();
    this.#heartbeats.stop();
    await this.#dispatcher.stop();
    this.#acceptor.close();
    const gone = [...this.#links].map((link) => {
      link.close(closeCodes.serverRestart, 'server restarts');
      return link.gone;
    });
    await Promise.race([Promise.all(gone), new Promise((next) => setTimeout(next, 2_000).unref())]);
    for (const link of this.#links) link.terminate();
    await Promise.allSettled([...this.#closing, this.#notes.stop()]);
    this.#transfers.stop();
    await this.#scans.stop();
    await this.#remoteTests.stop();
    await this.#listener?.stop();
  }

  /**
   * Tells this server's readers and agents what a transaction has changed, whether by this server or according to the
   * bus.
   */
  publish(news: ProgressNews | ProgressNotice): void {
    if (!this.#heard.isNew(news.runs)) return;
    this.#deps.hub.publishRuns(news.runs);
    if (news.segments.length > 0) this.#dispatcher.wake();
    if (news.cancel.length > 0) void this.#cancelRuns(news.cancel);
  }

  claimAlong(news: ProgressNews): ClaimAlong | undefined {
    const hasAgent = this.#links
      .ready()
      .some((link) => !link.isDraining && news.segments.includes(link.segmentId));
    const along = hasAgent ? this.#dispatcher.claimAlong() : undefined;
    // The bus may announce it while this server still waits for the transaction.
    if (along !== undefined) this.#heard.isNew(news.runs);
    return along;
  }

  connectedAgents(): number {
    return this.#links.size;
  }

  /** Tests a target through an agent of its segment, whichever server that is connected to. */
  async testTarget(request: TargetTestRequest): Promise<TestAnswer | 'no_agent'> {
    const answer = (await this.#testHere(request)) ?? (await this.#remoteTests.ask(request));
    if (answer !== undefined) return answer;
    return (await hasAgents(this.#deps.sql, request.segmentId)) ? 'offline' : 'no_agent';
  }

  /** Returns `undefined` if no agent of the segment is connected to this server. */
  async #testHere(request: TargetTestRequest): Promise<TestAnswer | undefined> {
    const links = this.#links.ready(request.segmentId);
    const link = links.find((each) => agentTooOld(each, request.target) === undefined) ?? links[0];
    if (link === undefined) return undefined;
    const requestId = randomUUID();
    const tooOld = agentTooOld(link, request.target);
    if (tooOld !== undefined)
      return {
        agentName: link.name,
        tested: { type: 'target_tested', requestId, ok: false, ...tooOld.outcome },
      };
    try {
      const { segmentId: _, ...rest } = request;
      const tested = await link.testTarget({ type: 'test_target', requestId, ...rest });
      return tested.reason === 'offline' ? 'offline' : { agentName: link.name, tested };
    } catch (error) {
      if (error instanceof AppError && error.code === 'unavailable') return 'offline';
      throw error;
    }
  }

  // ---- connections

  #accept(socket: WebSocket, agent: Accepted, stream: Socket, address: string): Promise<void> {
    const link = new AgentLink(
      { ...this.#deps, settler: this.settler, events: this, keyMessages: this.#keys },
      socket,
      { ...agent, address },
      stream,
    );
    this.#links.add(link)?.close(closeCodes.replaced, 'a newer session of this agent is connected');
    this.#deps.log.info({ agent: agent.name, session: agent.sessionNumber }, 'agent connected');
    return link.arrived;
  }

  closed(link: AgentLink, end: { code: number; reason: string }): void {
    this.#links.remove(link);
    this.#heartbeats.closed(link);
    this.#deps.log.info(
      { agent: link.name, session: link.sessionNumber, closeCode: end.code, reason: end.reason },
      'agent disconnected',
    );
    const clean = link.isDraining && link.slotsTaken === 0;
    const { sql, log } = this.#deps;
    const closing = Promise.all([
      closeSession(sql, link.agentId, link.sessionNumber, clean),
      noteClose(sql, { agentId: link.agentId, ...end, address: link.address }),
    ]).catch((error) =>
      log.warn(
        { err: error, agent: link.name, session: link.sessionNumber },
        'the end of a session of an agent could not be recorded',
      ),
    );
    this.#whileClosing(closing);
    const giving = this.#scans
      .closed(link)
      .catch((error) =>
        this.#deps.log.warn(
          { err: error, agent: link.name },
          'targets that a disconnected agent was to scan could not be taken back; other agents get them once they are overdue',
        ),
      );
    this.#whileClosing(giving);
  }

  #whileClosing(work: Promise<unknown>): void {
    this.#closing.add(work);
    void work.finally(() => this.#closing.delete(work));
  }

  #endOlderSession(agentId: number, sessionNumber: number, how: ShutOut | 'quarantined' | undefined): void {
    const link = this.#links.get(agentId);
    if (link === undefined || link.sessionNumber >= sessionNumber) return;
    if (how === undefined) link.close(closeCodes.replaced, 'a newer session of this agent is connected');
    else shutOut(link, how);
  }

  async #endOver(links: readonly AgentLink[]): Promise<void> {
    const out = await shutOutOfLinks(this.#deps, links);
    for (const link of links) if (!out.has(link)) link.close(closeCodes.replaced, 'this session is over');
  }

  #endSilentLinks(): void {
    for (const link of this.#links) {
      if (link.silentMs <= this.#settings.leaseTtlMs) continue;
      link.close(closeCodes.silent, 'no heartbeat');
      link.terminate();
    }
  }

  // ---- messages from agents

  heartbeat(link: AgentLink, message: AgentMessageOf<'heartbeat'>): void {
    this.#heartbeats.heard(link, message);
    if (message.auditSize !== undefined) void this.#checkpoints.heard(link, message.auditSize);
    this.#stopReminders.heard(link, message);
  }

  async resume(link: AgentLink, message: AgentMessageOf<'resume'>): Promise<void> {
    // Set before the session is ready, because from then on it is leased steps.
    link.isDraining = message.draining;
    link.capabilities = new Set(message.capabilities);
    await this.#notes.flush();
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
    this.#notes.resumed(link, resumed.untold);
    for (const end of resumed.ends) await this.settler.settle(end);
    this.publish(resumed.news);
    await this.#segmentStates.tell(link);
    this.#dispatcher.wake();
    await this.#scans.ready(link, link.can('scan_hosts'));
    await this.#cleanUps.ask();
  }

  started(link: AgentLink, message: AgentMessageOf<'started'>): void {
    const { step, epoch, survives } = message;
    const { agentId, sessionNumber } = link;
    this.#notes.started({
      step,
      epoch,
      agentId,
      sessionNumber,
      ...(survives === undefined ? {} : { survives }),
    });
  }

  completing({ step, epoch }: { step: number; epoch: number }): number | undefined {
    return this.#notes.ended({ step, epoch });
  }

  progressed(attempt: { runId: number; stepId: number; epoch: number }, transfer: TransferProgress): void {
    this.#transfers.progressed(attempt, transfer);
  }

  async returned(link: AgentLink, message: AgentMessageOf<'return'>): Promise<void> {
    const deps = { sql: this.#deps.sql, settler: this.settler, notes: this.#notes };
    for (const news of await takeBackLeases(deps, link, message)) this.publish(news);
    // The step before it may have ended meanwhile, and the slot was kept for what comes back.
    this.#dispatcher.slotsFreed(link.segmentId);
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
    await this.#scans.scanned(link, message);
  }

  async checkpointRefused(
    link: AgentLink,
    message: AgentMessageOf<'audit_checkpoint_refused'>,
  ): Promise<void> {
    await this.#deps.checkpoints?.refused(link, message);
  }

  async cleanedUp(link: AgentLink, message: AgentMessageOf<'cleaned_up'>): Promise<void> {
    await this.#cleanUps.answered(link, message);
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
      if (isSlotFree) this.#dispatcher.slotsFreed(link.segmentId);
      return { ahead: await this.#dispatcher.buildAhead(link, ahead) };
    }
    const leases = await this.#dispatcher.buildLeases([result.next]);
    const next = leases.get(result.next.id);
    if (next !== undefined && !link.isEnding)
      return { next, ahead: await this.#dispatcher.buildAhead(link, ahead) };
    link.forget({ stepId: result.next.id, epoch: result.next.epoch });
    // The agent was shut out meanwhile and was asked for its unbegun leases before it heard of this one: others may
    // have it. What was leased to follow it goes back with it, or was closed when it failed.
    if (next !== undefined) await this.#dispatcher.giveBack(result.next);
    return { ahead: [] };
  }

  // ---- messages to agents

  /** Missing one does no harm: the sweep tells again while a run is being cancelled, and so does a resume. */
  async #cancelRuns(runIds: readonly number[]): Promise<void> {
    if (this.#links.size === 0) return;
    try {
      for (const { stepId, epoch, agentId } of await attemptsToStop(this.#deps.sql, runIds)) {
        const link = this.#links.get(agentId);
        // An agent understands nothing else before its `resumed`.
        if (link?.isReady === true) link.send({ type: 'cancel', step: stepId, epoch });
      }
    } catch (error) {
      this.#deps.log.warn(
        { err: error, runs: runIds },
        'agents could not be told to stop cancelled runs; they are told again within seconds',
      );
    }
  }

  /** Sends their state to the agents of a segment, or to all agents. */
  #sendSegmentStates(segmentId?: number): void {
    for (const link of this.#links.ready(segmentId)) void this.#segmentStates.tell(link);
  }
}
