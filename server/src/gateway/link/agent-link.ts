// One agent's connection: its attempts, its messages, its closing. What a message does is decided in runs/ and
// segments/; this file keeps messages in order and answers them.
import type { Duplex } from 'node:stream';
import {
  type AgentCapability,
  type AgentMessage,
  type AgentMessageOf,
  closeCodes,
  type Lease,
  type ServerMessage,
  type ServerMessageOf,
  type TargetTested,
  type TransferProgress,
  visibleLine,
} from '@opsconductor/protocol';
import type { WebSocket } from 'ws';
import { AppError } from '../../errors.ts';
import type { AgentContents, HeldAttempt } from '../../files/agent-contents.ts';
import type { Log } from '../../log.ts';
import type { ResumedAttempt } from '../../runs/leases/resume-agent.ts';
import type { OutputWriter } from '../../runs/output/output-writer.ts';
import type { SettleResult } from '../../runs/progress/attempt-end.ts';
import type { TransferTaker } from '../../runs/transfers/transfer-taker.ts';
import type { HandedOnValues } from '../../runs/values/handed-on.ts';
import type { Sql } from '../../store/database/connection.ts';
import { isRefused } from '../../store/database/refused-statement.ts';
import type { ClaimedStep } from '../../store/queue/claims/claims.ts';
import type { KeyMessages } from '../key-messages.ts';
import type { AttemptOutput } from '../leases/attempt-output.ts';
import { leaseMessages } from '../leases/lease-messages.ts';
import type { Settler } from '../leases/settler.ts';
import { Completions, type NextLeases } from './completions.ts';
import { ContentRequests } from './content-requests.ts';
import { attemptOf, DeliveredAttempts } from './delivered-attempts.ts';
import { boundLastWords, type ReadStream } from './last-words.ts';
import { parseAgentFrame } from './message-codec.ts';
import { ReadingPace } from './reading-pace.ts';
import { ReceivedOutput } from './received-output.ts';
import { SaidMessages } from './said-messages.ts';
import { SpacedMessages } from './spaced-messages.ts';
import { TargetTests } from './target-tests.ts';

/** How long an agent that is shut out has to hand back what it has not begun. */
const handBackMs = 3_000;
/** Interval at which messages are handled that an agent may send at will and that are kept in the audit log. */
const auditedEveryMs = 10_000;

/** Notifications from a link to the gateway. */
export interface LinkEvents {
  heartbeat(link: AgentLink, message: AgentMessageOf<'heartbeat'>): void;
  resume(link: AgentLink, message: AgentMessageOf<'resume'>): Promise<void>;
  started(link: AgentLink, message: AgentMessageOf<'started'>): void;
  /** Returns the time since the attempt began, in ms, if the database doesn't know it. */
  completing(attempt: { step: number; epoch: number }): number | undefined;
  /** Reports the progress of an attempt's transfer. */
  progressed(attempt: { runId: number; stepId: number; epoch: number }, transfer: TransferProgress): void;
  targetSilence(link: AgentLink, message: AgentMessageOf<'target_silence'>): Promise<void>;
  returned(link: AgentLink, message: AgentMessageOf<'return'>): Promise<void>;
  hostKeySeen(link: AgentLink, message: AgentMessageOf<'host_key_seen'>): Promise<void>;
  hostsScanned(link: AgentLink, message: AgentMessageOf<'hosts_scanned'>): Promise<void>;
  checkpointRefused(link: AgentLink, message: AgentMessageOf<'audit_checkpoint_refused'>): Promise<void>;
  policyRead(link: AgentLink, message: AgentMessageOf<'policy_read'>): Promise<void>;
  cleanedUp(link: AgentLink, message: AgentMessageOf<'cleaned_up'>): Promise<void>;
  draining(link: AgentLink): Promise<void>;
  /** Called after an attempt was settled, with whether its slot is free now. Returns what is leased to the agent. */
  settled(link: AgentLink, result: SettleResult, isSlotFree: boolean): Promise<NextLeases>;
  /** How many steps an agent may be leased ahead of their turn when this one ends, beyond the next one. */
  stepsAhead(stepId: number): number;
  closed(link: AgentLink, end: { code: number; reason: string }): void;
}

export interface LinkDeps {
  sql: Sql;
  writer: Pick<OutputWriter, 'push' | 'queuedBytes'>;
  settler: Settler;
  handedOn?: Pick<HandedOnValues, 'take'> | undefined;
  transfers?: Pick<TransferTaker, 'take'> | undefined;
  contents?: Pick<AgentContents, 'answer'> | undefined;
  log: Log;
  events: LinkEvents;
  keyMessages: KeyMessages;
}

export class AgentLink {
  readonly agentId: number;
  readonly name: string;
  readonly segmentId: number;
  readonly sessionNumber: number;
  /** Whether the agent said that it takes nothing new. */
  isDraining = false;
  /** What the agent said in `resume` that it can do, including capabilities that this server doesn't know. */
  capabilities: ReadonlySet<string> = new Set();
  /** On the monotonic clock: a step of the wall clock would cut off every agent at once. */
  #heardAtMs = performance.now();
  /** When it was last sent a checkpoint of the audit log, or else connected; on the same clock. */
  checkpointAtMs = performance.now();
  /** Number of rows that the checkpoint it was given last covers. */
  checkpointSize: number | undefined;
  /** Resolves when the connection is closed. */
  readonly gone: Promise<void>;
  /** Resolves when everything that follows a resume is done, or the connection is closed. */
  readonly arrived: Promise<void>;
  /** Address that it connects from. */
  readonly address: string | null;
  /** Whether the agent is being shut out: it is sent nothing more but the end. */
  isEnding = false;
  /** Number of commands of other agents that it is about to be given. */
  expected = 0;
  readonly #socket: WebSocket;
  readonly #stream: Pick<Duplex, 'cork' | 'uncork'> & ReadStream;
  readonly #deps: LinkDeps;
  readonly #said: SaidMessages;
  readonly #attempts = new DeliveredAttempts();
  readonly #output: ReceivedOutput;
  readonly #completions: Completions;
  readonly #tests = new TargetTests();
  readonly #contents: ContentRequests;
  readonly #pace: ReadingPace;
  readonly #newKeys: SpacedMessages<AgentMessageOf<'new_keys'>>;
  readonly #policyReads: SpacedMessages<AgentMessageOf<'policy_read'>>;
  #hasResumed = false;
  #work: Promise<void> = Promise.resolve();
  #closing: { code: number; reason: string } | undefined;
  #isRefusing = false;
  #noteHandedBack: () => void = () => undefined;
  #noteArrived: () => void = () => undefined;

  constructor(
    deps: LinkDeps,
    socket: WebSocket,
    agent: { agentId: number; name: string; segmentId: number; sessionNumber: number; address: string },
    stream: Pick<Duplex, 'cork' | 'uncork'> & ReadStream,
  ) {
    this.#deps = deps;
    this.#socket = socket;
    this.#stream = stream;
    this.#pace = new ReadingPace(socket);
    this.#said = new SaidMessages({
      socket,
      stream,
      onUnread: () => {
        deps.log.warn({ agent: this.name }, 'disconnected an agent that does not read what the server sends');
        this.terminate();
      },
    });
    this.agentId = agent.agentId;
    this.name = agent.name;
    this.segmentId = agent.segmentId;
    this.sessionNumber = agent.sessionNumber;
    this.address = agent.address === '' ? null : agent.address;
    this.#contents = new ContentRequests({
      contents: deps.contents,
      find: (message) => this.#heldAttempt(message),
      reply: (reply) => this.send(reply),
      onFailure: (error) => {
        deps.log.error(
          { agent: this.name, err: error },
          'files for an agent could not be read or written; it is disconnected, and asks again',
        );
        this.close(closeCodes.serverRestart, 'files could not be read or written; ask again');
      },
    });
    const { events, keyMessages } = deps;
    this.#output = new ReceivedOutput({
      agent,
      attempts: this.#attempts,
      writer: deps.writer,
      pace: this.#pace,
      log: deps.log,
      send: (message) => this.send(message),
      close: (code, reason) => this.close(code, reason),
    });
    this.#completions = new Completions({
      sql: deps.sql,
      settler: deps.settler,
      handedOn: deps.handedOn,
      transfers: deps.transfers,
      agent: { agentId: agent.agentId, sessionNumber: agent.sessionNumber },
      attempts: this.#attempts,
      startedMsAgo: (attempt) => events.completing(attempt),
      isOpen: () => this.isOpen,
      takesMore: () => !this.isDraining && this.isOpen,
      stepsAhead: (stepId) => (this.can('leases_ahead') ? events.stepsAhead(stepId) : 0),
      settled: (result, isSlotFree) => events.settled(this, result, isSlotFree),
      lease: (leases) => this.lease(leases),
      send: (message) => this.send(message),
      reconnect: (reason) => this.close(closeCodes.serverRestart, reason),
      log: deps.log,
    });
    this.#newKeys = new SpacedMessages({
      everyMs: auditedEveryMs,
      handle: (message) => this.#own(this.#ifTaken(message.type, () => keyMessages.replaced(this, message))),
    });
    this.#policyReads = new SpacedMessages({
      everyMs: auditedEveryMs,
      handle: (message) => this.#own(this.#ifTaken(message.type, () => events.policyRead(this, message))),
    });
    this.gone = new Promise((resolve) => socket.on('close', () => resolve()));
    this.arrived = new Promise((resolve) => {
      this.#noteArrived = resolve;
    });
    void this.gone.then(this.#noteArrived);
    void this.gone.then(() => {
      this.#newKeys.close();
      this.#policyReads.close();
    });
    socket.on('message', (data: Buffer, isBinary: boolean) => this.#onFrame(data, isBinary));
    socket.on('close', (code, reason) =>
      this.#onClose({ code, reason: visibleLine(reason.toString('utf8')) }),
    );
    socket.on('error', (error) => {
      deps.log.warn({ agent: this.name, err: error }, 'the connection of an agent failed');
      // ws has already closed the connection for a frame that can't be read.
      this.#readLittle();
    });
  }

  /**
   * Whether messages can still be sent. False as soon as a close was sent, however long the agent takes to answer it.
   */
  get isOpen(): boolean {
    return this.#closing === undefined && this.#socket.readyState === this.#socket.OPEN;
  }

  /** Whether the journal was reconciled and the agent has been told. Nothing is sent before that. */
  get isReady(): boolean {
    return this.#said.isReady;
  }

  can(capability: AgentCapability): boolean {
    return this.capabilities.has(capability);
  }

  /** Whether the agent was given this attempt, or presented it when it connected. */
  holds(attempt: { stepId: number; epoch: number }): boolean {
    return this.#attempts.has(attempt);
  }

  /** Time since anything was heard from the agent, in ms. */
  get silentMs(): number {
    return performance.now() - this.#heardAtMs;
  }

  /** Number of its slots that are taken. */
  get slotsTaken(): number {
    return this.#attempts.slots;
  }

  adopt(attempts: readonly ResumedAttempt[]): void {
    this.#attempts.add(attempts);
  }

  /** Sends leases. From here on the agent may report on their attempts. */
  lease(leases: readonly { claimed: ClaimedStep; lease: Lease }[]): void {
    this.adopt(leases.map(({ claimed }) => attemptOf(claimed)));
    for (const text of leaseMessages(leases.map(({ lease }) => lease))) this.#said.say(text);
  }

  /** Announces steps that may be leased to this agent next, unless the agent is too old for it. */
  prepare(steps: ServerMessageOf<'prepare'>['steps']): void {
    if (this.isReady && this.can('prepare')) this.send({ type: 'prepare', steps });
  }

  /** Hands over a command that another agent has begun. From here on this agent may report on it. */
  takeOver(claimed: ClaimedStep, taken: ServerMessageOf<'take_over'>['attempts'][number]): void {
    const { seq: ackedSeq, rawBytes: outputBytes } = taken.output;
    this.adopt([{ ...attemptOf(claimed), ackedSeq, outputBytes, survives: true }]);
    this.send({ type: 'take_over', attempts: [taken] });
  }

  /** Answers the resume, and then sends what has been waiting: an agent accepts nothing before this answer. */
  ready(resumed: ServerMessageOf<'resumed'>): void {
    this.#said.begin(JSON.stringify(resumed));
  }

  /** Sends a message. All messages of one turn leave in one write. */
  send(message: ServerMessage): void {
    this.#said.say(JSON.stringify(message));
  }

  close(code: number, reason: string): void {
    this.#closing ??= { code, reason: reason.slice(0, 120) };
    this.#socket.close(code, reason.slice(0, 120));
    this.#readLittle();
  }

  /** Stops handling what the agent says. What it isn't told was done, it says again when it reconnects. */
  #readLittle(): void {
    if (this.#isRefusing) return;
    this.#isRefusing = true;
    this.#pace.end();
    boundLastWords(this.#socket, this.#stream);
  }

  /**
   * Ends the connection of an agent that is shut out. The agent hands back what it has not begun and is closed once
   * that is done, or after a moment if its version doesn't know the request.
   */
  shutOut(code: number, reason: string): void {
    if (this.isEnding) return;
    this.isEnding = true;
    const timer = setTimeout(() => this.close(code, reason), handBackMs);
    this.#noteHandedBack = () => this.close(code, reason);
    void this.gone.then(() => clearTimeout(timer));
    this.send({ type: 'drain', reason, handBack: true });
  }

  /** Ends the connection without waiting for the peer, which has been silent. */
  terminate(): void {
    this.#socket.terminate();
  }

  /** Asks the agent to test a target. Rejects if the agent doesn't answer in time or goes away. */
  testTarget(message: Extract<ServerMessage, { type: 'test_target' }>): Promise<TargetTested> {
    return this.#tests.start(this.name, message, () => this.send(message));
  }

  /** See `DeliveredAttempts.missed`. */
  missedAttempts(held: readonly (readonly [number, number])[]): AttemptOutput[] {
    return this.#attempts.missed(held);
  }

  forget(attempt: { stepId: number; epoch: number }): void {
    this.#attempts.forget(attempt);
  }

  #onFrame(data: Buffer, isBinary: boolean): void {
    if (this.#isRefusing) return;
    this.#heardAtMs = performance.now();
    if (isBinary) {
      this.#output.take(data);
      return;
    }
    const parsed = parseAgentFrame(data);
    if (!parsed.ok) {
      this.#deps.log.warn(
        { agent: this.name, problem: parsed.problem },
        'agent sent an invalid message; it is disconnected',
      );
      this.close(closeCodes.invalidMessage, parsed.problem);
      return;
    }
    this.#dispatch(parsed.message, data.length);
  }

  #dispatch(message: AgentMessage, bytes: number): void {
    const { events } = this.#deps;
    if (message.type === 'resume') {
      // A second one would present a journal that is older than the leases made since.
      if (this.#hasResumed) {
        this.close(closeCodes.invalidMessage, 'already resumed');
        return;
      }
      this.#hasResumed = true;
    }
    switch (message.type) {
      case 'heartbeat':
        events.heartbeat(this, message);
        return;
      case 'started':
        this.#onStarted(message);
        return;
      case 'complete':
        void this.#pace.during(bytes, this.#own(this.#completions.take(message)));
        return;
      case 'progress': {
        const attempt = this.#attempts.get(message);
        if (attempt !== undefined) events.progressed(attempt, message.transfer);
        return;
      }
      case 'content':
        if (!this.#contents.take(message))
          this.close(closeCodes.invalidMessage, 'too many content requests at a time');
        return;
      case 'target_tested':
        this.#tests.answered(message);
        return;
      case 'authenticate':
        this.close(closeCodes.invalidMessage, 'already authenticated');
        return;
      default:
        // These affect what follows, so they are handled in order.
        this.#work = this.#pace.during(
          bytes,
          this.#work.then(() => this.#own(this.#inOrder(message))),
        );
    }
  }

  #heldAttempt(message: AgentMessageOf<'content'>): HeldAttempt | undefined {
    const attempt = this.#attempts.ofLease(message);
    if (attempt === undefined) return undefined;
    const { agentId, sessionNumber } = this;
    return { stepId: attempt.stepId, epoch: attempt.epoch, runId: attempt.runId, agentId, sessionNumber };
  }

  /** Ignores attempts that this agent doesn't hold. */
  #onStarted(message: AgentMessageOf<'started'>): void {
    const attempt = this.#attempts.ofLease(message);
    if (attempt === undefined) return;
    attempt.survives = message.survives === true;
    this.#deps.events.started(this, message);
  }

  async #inOrder(message: AgentMessage): Promise<void> {
    if (this.#isRefusing) return;
    const { events } = this.#deps;
    if (message.type === 'resume') await events.resume(this, message).finally(this.#noteArrived);
    else if (message.type === 'return') await events.returned(this, message);
    else if (message.type === 'agent_drain') {
      this.isDraining = true;
      await events.draining(this);
      this.#noteHandedBack();
    } else if (message.type === 'new_keys') await this.#newKeys.take(message);
    else if (message.type === 'policy_read') await this.#policyReads.take(message);
    else await this.#ifTaken(message.type, () => this.#onNews(message));
  }

  async #onNews(message: AgentMessage): Promise<void> {
    const { events, keyMessages } = this.#deps;
    if (message.type === 'wrapped_key') await keyMessages.wrapped(this, message);
    else if (message.type === 'recovery_wrapped') await keyMessages.wrappedForRecovery(this, message);
    else if (message.type === 'segment_ready') await keyMessages.opened(this, message);
    else if (message.type === 'target_silence') await events.targetSilence(this, message);
    else if (message.type === 'host_key_seen') await events.hostKeySeen(this, message);
    else if (message.type === 'hosts_scanned') await events.hostsScanned(this, message);
    else if (message.type === 'audit_checkpoint_refused') await events.checkpointRefused(this, message);
    else if (message.type === 'cleaned_up') await events.cleanedUp(this, message);
    else if (message.type === 'segment_key_made') await keyMessages.made(this, message);
  }

  /**
   * Handles what nothing that follows depends on. If the database refuses it twice, it is left out: with the connection,
   * all else that the agent does would end, and the agent would say it again on the next one.
   */
  async #ifTaken(message: AgentMessage['type'], work: () => Promise<void>): Promise<void> {
    try {
      await work().catch((error) => {
        if (!isRefused(error)) throw error;
        return work();
      });
    } catch (error) {
      if (!isRefused(error)) throw error;
      this.#deps.log.error(
        { agent: this.name, message, err: error },
        'the database refuses to store what an agent has said; the agent goes on without it',
      );
    }
  }

  /** If work on a message fails, the connection is ended: the agent reconnects and says again what it has. */
  async #own(work: Promise<void>): Promise<void> {
    try {
      await work;
    } catch (error) {
      if (error instanceof AppError && error.code === 'invalid') {
        // The message breaks a rule that the schema can't express, so this is no fault of the server.
        this.#deps.log.warn(
          { agent: this.name, problem: error.message },
          'agent sent a message that breaks a rule; it is disconnected',
        );
        this.close(closeCodes.invalidMessage, 'a message is not valid');
        return;
      }
      this.#deps.log.error(
        { agent: this.name, err: error },
        'a message of an agent could not be handled; the agent is disconnected, and reports again',
      );
      this.close(closeCodes.serverRestart, 'try again');
    }
  }

  #onClose(end: { code: number; reason: string }): void {
    this.#attempts.close();
    this.#tests.close();
    // If this side closed the connection, its reason counts; the peer only echoes it.
    this.#deps.events.closed(this, this.#closing ?? end);
  }
}
