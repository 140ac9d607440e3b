// The agents' connections on this server: puts the parts together that serve them, starts and stops them, and passes on
// what the bus announces.
import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { type AgentMessageOf, closeCodes, limits } from '@opsconductor/protocol';
import type { WebSocket } from 'ws';
import type { CheckpointFeed } from '../audit/checkpoints/checkpoint-feed.ts';
import type { AgentContents } from '../files/agent-contents.ts';
import type { Log } from '../log.ts';
import type { CleanUpRequests } from '../runs/ends/clean-up-requests.ts';
import type { ClaimAlong, ClaimsAlong } from '../runs/leases/claim-along.ts';
import type { LeaseBuilder } from '../runs/leases/lease-builder.ts';
import type { LiveHub } from '../runs/live/live-hub.ts';
import type { OutputWriter } from '../runs/output/output-writer.ts';
import type { EndedCounts, ProgressNews } from '../runs/progress/run-ledger.ts';
import type { RunKeys } from '../runs/run-keys.ts';
import type { TransferTaker } from '../runs/transfers/transfer-taker.ts';
import type { HandedOnValues } from '../runs/values/handed-on.ts';
import { segmentStateFor } from '../segments/segment-state.ts';
import type { Sql } from '../store/database/connection.ts';
import {
  type ForgetNotice,
  type Listening,
  listen,
  type ProgressNotice,
} from '../store/database/notifications.ts';
import { attemptsToStop, attemptsToStopOn } from '../store/queue/sweep/sweep.ts';
import type { ContactNotes } from '../targets/contact-notes.ts';
import type { TargetTester, TargetTestRequest } from '../targets/test-target.ts';
import { AgentEvents } from './agent-events.ts';
import { CheckpointTurns } from './checkpoint-turns.ts';
import { type Accepted, AgentAcceptor } from './connections/agent-acceptor.ts';
import type { HandshakeSettings, ServerIdentity } from './connections/handshake.ts';
import { Heartbeats } from './connections/heartbeats.ts';
import { Links } from './connections/links.ts';
import { SessionEnds } from './connections/session-ends.ts';
import { HeardNews } from './heard-news.ts';
import { HostScans } from './host-scans.ts';
import { KeyMessages } from './key-messages.ts';
import { announceSteps } from './leases/announce-steps.ts';
import { CleanUpAsks } from './leases/clean-up-asks.ts';
import { Dispatcher } from './leases/dispatcher.ts';
import { LeaseNotes } from './leases/lease-notes.ts';
import { Settler } from './leases/settler.ts';
import { StopReminders } from './leases/stop-reminders.ts';
import { TakeOvers } from './leases/take-overs.ts';
import { TransferNews } from './leases/transfer-news.ts';
import { AgentLink } from './link/agent-link.ts';
import { SegmentStates } from './segment-states.ts';
import { SegmentTests } from './segment-tests.ts';

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
  /** Told what has ended in each transaction of this server. */
  onEnded?(ended: EndedCounts): void;
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

export class Gateway implements TargetTester, ClaimsAlong {
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
  readonly #tests: SegmentTests;
  readonly #heard = new HeardNews();
  readonly #links = new Links();
  readonly #heartbeats: Heartbeats;
  readonly #sessionEnds: SessionEnds;
  readonly #events: AgentEvents;
  readonly #keys: KeyMessages;
  readonly #checkpoints: CheckpointTurns;
  readonly #cleanUps: CleanUpAsks;
  readonly #takeOvers: TakeOvers;
  #listener: Listening | undefined;

  constructor(deps: GatewayDeps) {
    this.#deps = deps;
    this.#settings = deps.settings ?? defaultSettings;
    this.settler = new Settler({
      sql: deps.sql,
      onNews: (news) => this.publish(news),
      contacts: deps.contacts,
      onLeasing: (steps) => announceSteps(steps, (agentId) => this.#links.open(agentId)),
    });
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
      sql: deps.sql,
      serverId: deps.identity.serverId,
      builder: deps.builder,
      settler: this.settler,
      keys: deps.keys,
      log: deps.log,
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
      sql: deps.sql,
      log: deps.log,
      leaseTtlMs: this.#settings.leaseTtlMs,
      connected: () => this.#links.ready(),
      onOver: (links) => this.#sessionEnds.endOver(links),
    });
    this.#sessionEnds = new SessionEnds({
      sql: deps.sql,
      log: deps.log,
      leaseTtlMs: this.#settings.leaseTtlMs,
      links: this.#links,
      heartbeats: this.#heartbeats,
      scans: this.#scans,
    });
    this.#keys = new KeyMessages({ ...deps, onReady: () => this.#dispatcher.wake() });
    this.#stopReminders = new StopReminders(deps);
    this.#tests = new SegmentTests({
      sql: deps.sql,
      serverId: deps.identity.serverId,
      log: deps.log,
      links: this.#links,
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
    this.#events = new AgentEvents({
      sql: deps.sql,
      builder: deps.builder,
      checkpointFeed: deps.checkpoints,
      checkpoints: this.#checkpoints,
      cleanUps: this.#cleanUps,
      dispatcher: this.#dispatcher,
      heartbeats: this.#heartbeats,
      log: deps.log,
      notes: this.#notes,
      scans: this.#scans,
      segmentStates: this.#segmentStates,
      sessionEnds: this.#sessionEnds,
      settler: this.settler,
      stopReminders: this.#stopReminders,
      transfers: this.#transfers,
      publish: (news) => this.publish(news),
    });
  }

  async start(server: Pick<Server, 'on'>): Promise<void> {
    this.#acceptor.attach(server);
    this.#dispatcher.start();
    this.#scans.start();
    this.#sessionEnds.start();
    this.#cleanUps.start();
    this.#takeOvers.start();
    this.#listener = await listen(this.#deps.sql, {
      progress: (notice) => this.publish(notice),
      output: (marks) => this.#deps.hub.publishSteps(marks),
      session: (agentId, sessionNumber, how) => this.#sessionEnds.endOlder(agentId, sessionNumber, how),
      segment: (segmentId) => this.#sendSegmentStates(segmentId),
      scans: (cancelledId) =>
        cancelledId === undefined ? this.#scans.wake() : this.#scans.cancel(cancelledId),
      forget: (notice) => this.#deps.onForget?.(notice),
      transfers: (payload) => this.#transfers.heard(payload),
      asked: (id, segmentId) => this.#tests.asked(id, segmentId),
      answered: (id) => this.#tests.answered(id),
      resync: () => {
        this.#deps.onForget?.(undefined);
        this.#deps.hub.wakeAll();
        this.#dispatcher.wake();
        void this.#sessionEnds.endShutOut();
        this.#sendSegmentStates();
        this.#scans.wake();
      },
    });
  }

  /** A connection on which nothing waits for locks; `undefined` while it is lost. */
  get listeningConnection(): Sql | undefined {
    return this.#listener?.connection;
  }

  /** Drains: leases nothing more, tells agents to connect elsewhere, and commits what is in flight. */
  async stop(): Promise<void> {
    this.#sessionEnds.stop();
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
    await Promise.allSettled([this.#sessionEnds.recorded(), this.#notes.stop()]);
    this.#transfers.stop();
    await this.#scans.stop();
    await this.#tests.stop();
    await this.#listener?.stop();
  }

  /**
   * Tells this server's readers and agents what a transaction has changed, whether by this server or according to the
   * bus.
   */
  publish(news: ProgressNews | ProgressNotice): void {
    if ('ended' in news && news.ended !== undefined) this.#deps.onEnded?.(news.ended);
    if (!this.#heard.isNew(news.runs)) return;
    this.#deps.hub.publishRuns(news.runs);
    if (news.segments.length > 0) this.#dispatcher.wake();
    if (news.cancel.length > 0) void this.#stop({ runs: news.cancel });
    const { cancelTargetRuns = [] } = news;
    if (cancelTargetRuns.length > 0) void this.#stop({ targetRuns: cancelTargetRuns });
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
  testTarget(request: TargetTestRequest): ReturnType<TargetTester['testTarget']> {
    return this.#tests.testTarget(request);
  }

  #accept(socket: WebSocket, agent: Accepted, stream: Socket, address: string): Promise<void> {
    const link = new AgentLink(
      { ...this.#deps, settler: this.settler, events: this.#events, keyMessages: this.#keys },
      socket,
      { ...agent, address },
      stream,
    );
    this.#links.add(link)?.close(closeCodes.replaced, 'a newer session of this agent is connected');
    this.#deps.log.info({ agent: agent.name, session: agent.sessionNumber }, 'agent connected');
    return link.arrived;
  }

  /** Missing one does no harm: the sweep tells again while something is being cancelled, and so does a resume. */
  async #stop(cancelled: { runs: readonly number[] } | { targetRuns: readonly number[] }): Promise<void> {
    if (this.#links.size === 0) return;
    const { sql } = this.#deps;
    try {
      const attempts =
        'runs' in cancelled
          ? await attemptsToStop(sql, cancelled.runs)
          : await attemptsToStopOn(sql, cancelled.targetRuns);
      for (const { stepId, epoch, agentId } of attempts) {
        const link = this.#links.get(agentId);
        // An agent understands nothing else before its `resumed`.
        if (link?.isReady === true) link.send({ type: 'cancel', step: stepId, epoch });
      }
    } catch (error) {
      this.#deps.log.warn(
        { err: error, ...cancelled },
        'agents could not be told to stop what was cancelled; they are told again within seconds',
      );
    }
  }

  /** Sends their state to the agents of a segment, or to all agents. */
  #sendSegmentStates(segmentId?: number): void {
    for (const link of this.#links.ready(segmentId)) void this.#segmentStates.tell(link);
  }
}
