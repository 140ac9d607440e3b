// Holds one session after another: handshake, resume, then messages and heartbeats until the socket closes.
import { hostname } from 'node:os';
import { closeCodes, limits, type ServerMessage, type ServerMessageOf } from '@opsconductor/protocol';
import type { AuditCheckpoint } from '../audit-checkpoint.ts';
import { capabilitiesWith } from '../capabilities.ts';
import type { AttemptCleaner } from '../clean-up/attempt-cleaner.ts';
import { performHandshake } from '../connection/handshake.ts';
import type { MessageSocket } from '../connection/message-socket.ts';
import { OutputSender } from '../connection/output-sender.ts';
import { abilitiesOf, type ServerAbilities } from '../connection/server-abilities.ts';
import type { ContentLink } from '../contents/content-link.ts';
import type { Identity } from '../identity/identity.ts';
import type { OwnKeys } from '../identity/own-keys.ts';
import type { SegmentKeys } from '../identity/segment-keys.ts';
import type { Journal } from '../journal/journal.ts';
import type { Logger } from '../log.ts';
import type { PolicyReading } from '../policy/current-policy.ts';
import type { RequireGrant } from '../policy/policy-schema.ts';
import type { HostScanner } from '../scans/host-scanner.ts';
import type { TargetTester } from '../scans/target-tester.ts';
import { describeClockSkew } from '../timing/clock-skew.ts';
import { agentVersion } from '../version.ts';
import { type BusyLimits, busyReasonOf, measureUsed } from './busy.ts';
import type { Disk } from './disk.ts';
import type { Executor } from './executor.ts';
import type { LeaseDeadline } from './lease-deadline.ts';
import type { Session } from './session.ts';

const resumedTimeoutMs = 60_000;
const skewAdvice =
  'correct the wrong one, and keep both in sync with NTP. This agent goes by its own for certificates, signed runs and the hours of its policy';

export interface SessionHolderOptions {
  identity: Identity;
  ownKeys: OwnKeys;
  generationPath: string;
  slots: number;
  busyLimits: BusyLimits;
  journal: Journal;
  disk: Disk;
  deadline: LeaseDeadline;
  executor: Executor;
  segmentKeys: SegmentKeys;
  /** What the policy requires of signed runs; undefined if runs don't have to be signed. */
  signedRuns: RequireGrant | undefined;
  auditCheckpoint: AuditCheckpoint;
  tester: TargetTester;
  scanner: HostScanner;
  cleaner: AttemptCleaner;
  contents: ContentLink;
  log: Logger;
}

export class SessionHolder {
  /** Resolves when the first session was resumed. */
  readonly connected: Promise<void>;
  /** Called whenever a session was resumed. */
  onResumed: () => void = () => undefined;
  /** Called with the time over which agents should spread their reconnects if the server goes away. */
  onReconnectWithin: (ms: number) => void = () => undefined;
  /** Called when the server has refused one of two keys, and the other one should be tried. */
  onOtherKey: () => void = () => undefined;
  readonly #options: SessionHolderOptions;
  #markConnected: () => void = () => undefined;
  #current: { socket: MessageSocket; session: Session; told: string } | undefined;
  /** A reading of the policy that no server has heard of yet. */
  #untold: PolicyReading | undefined;

  constructor(options: SessionHolderOptions) {
    this.#options = options;
    this.connected = new Promise((resolve) => {
      this.#markConnected = resolve;
    });
  }

  /** Resolves when the socket has closed; rejects if no session came about. */
  async hold(socket: MessageSocket): Promise<void> {
    const { identity, deadline, journal, executor, scanner, cleaner, contents, log } = this.#options;
    let askedAt = deadline.now();
    const welcome = await this.#introduce(socket, () => {
      askedAt = deadline.now();
    });
    // Taken before the resume is sent: the policy may be read again before the server answers.
    const told = this.#toldOfPolicy();
    const resumed = await this.#resume(socket, welcome.generation);
    await journal.reconciled();
    deadline.begin(askedAt, welcome.leaseTtlMs);
    const session = this.#newSession(socket, abilitiesOf(welcome));
    executor.sessionBegan(session, resumed);
    scanner.began((message) => session.send(message));
    cleaner.began((message) => session.send(message));
    if (session.server.can('server_files')) contents.began((message) => session.send(message));
    socket.handle((message) => this.#dispatch(message, session));
    this.#current = { socket, session, told };
    this.#tellPolicyRead();
    this.#offerKeys(session);
    log.info({ server: identity.server, session: welcome.sessionNumber }, 'connected');
    const skew = describeClockSkew(socket.clockSkewMs ?? 0);
    if (skew !== undefined)
      log.warn(`the clock of this machine is ${skew} that of the server; ${skewAdvice}`);
    this.onResumed();
    this.#markConnected();
    const stopHeartbeat = this.#heartbeat(socket, session, welcome.heartbeatIntervalMs);
    try {
      await socket.ended;
    } finally {
      this.#current = undefined;
      stopHeartbeat();
      scanner.ended();
      cleaner.ended();
      contents.ended();
      executor.sessionEnded();
    }
  }

  /** The policy file was read again. If the reading changes what a server is told at connect, the agent reconnects. */
  policyRead(reading: PolicyReading): void {
    this.#untold = reading;
    this.#tellPolicyRead();
  }

  #toldOfPolicy(): string {
    const { slots, signedRuns } = this.#options;
    return JSON.stringify([slots, capabilitiesWith(signedRuns)]);
  }

  #tellPolicyRead(): void {
    const { session, socket, told } = this.#current ?? {};
    if (socket !== undefined && told !== this.#toldOfPolicy()) {
      socket.close(closeCodes.policyRead, 'to report a policy that was read again');
      return;
    }
    const reading = this.#untold;
    if (reading === undefined || session?.server.can('policy_read') !== true) return;
    this.#untold = undefined;
    const problem = reading.accepted ? {} : { problem: reading.problem.slice(0, 2_000) };
    session.send({ type: 'policy_read', accepted: reading.accepted, ...problem });
  }

  async #introduce(socket: MessageSocket, onAsked: () => void): Promise<ServerMessageOf<'welcome'>> {
    const { identity, generationPath, ownKeys } = this.#options;
    const { signingPrivateKey } = ownKeys;
    try {
      return await performHandshake(socket, { identity, signingPrivateKey, generationPath, onAsked });
    } catch (error) {
      if (socket.serverCode === closeCodes.unauthenticated && ownKeys.refused()) this.onOtherKey();
      throw error;
    }
  }

  /** Never rejects: what could not be offered is offered at the next heartbeat. */
  #offerKeys(session: Session): void {
    const { ownKeys, segmentKeys, log } = this.#options;
    if (!session.server.can('new_keys')) return;
    void ownKeys
      .offer(session, (publicKey) => segmentKeys.wrapsFor(publicKey))
      .catch((error: unknown) =>
        log.error(
          { err: error },
          'new keys of this agent could not be offered to the server; they are offered again at the next heartbeat',
        ),
      );
  }

  async #makeKeys(session: Session): Promise<void> {
    const { ownKeys, log } = this.#options;
    try {
      await ownKeys.make();
    } catch (error) {
      log.error({ err: error }, 'new keys of this agent could not be stored; the current ones stay in use');
      return;
    }
    this.#offerKeys(session);
  }

  async #resume(socket: MessageSocket, generation: number): Promise<ServerMessageOf<'resumed'>> {
    const { slots, journal, executor, segmentKeys } = this.#options;
    const { attempts, complete } = executor.journalAttempts();
    socket.send({
      type: 'resume',
      generation,
      slots,
      agentVersion,
      platform: `${process.platform}-${process.arch}`,
      hostname: hostname().slice(0, 253),
      draining: executor.draining,
      // Attempts that did not fit into the message must not be taken for absent.
      journalIntact: journal.intact && complete,
      ...(journal.loss === undefined ? {} : { journalLoss: journal.loss }),
      attempts,
      rosterNumber: segmentKeys.rosterNumber,
      capabilities: capabilitiesWith(this.#options.signedRuns),
    });
    const message = await socket.next({
      timeoutMs: resumedTimeoutMs,
      maxBytes: limits.maxControlFrameBytes,
    });
    if (message.type !== 'resumed') throw new Error(`Expected resumed, got ${message.type}`);
    return message;
  }

  #newSession(socket: MessageSocket, server: ServerAbilities): Session {
    const { executor, log } = this.#options;
    return {
      send: (message) => socket.send(message),
      server,
      output: new OutputSender({
        socket,
        onCaughtUp: (output) => executor.onOutputCaughtUp(output),
        onReadFailure: ({ step, epoch }, error) => {
          if (!executor.holds({ step, epoch })) return; // settled while its chunk was being read
          log.error(
            { err: error, step, epoch },
            'stored output of this attempt could not be read; reconnecting to send it again',
          );
          socket.terminate();
        },
      }),
    };
  }

  #dispatch(message: ServerMessage, session: Session): void {
    const { executor, deadline, segmentKeys, tester, scanner, log } = this.#options;
    switch (message.type) {
      case 'leases':
        executor.onLeases(message.leases);
        break;
      case 'prepare':
        executor.onPrepare(message);
        break;
      case 'take_over':
        executor.onTakeOver(message);
        break;
      case 'cancel':
        executor.onCancel(message);
        break;
      case 'output_ack':
        executor.onOutputAck(message);
        break;
      case 'completed':
        executor.onCompleted(message);
        break;
      case 'heartbeat_ack':
        deadline.heartbeatAcknowledged(message.sequence);
        this.onReconnectWithin(message.reconnectWithinMs ?? 0);
        break;
      case 'drain':
        log.info({ reason: message.reason }, 'the server told this agent to take no new steps');
        if (message.handBack === true) executor.onHandBack();
        else executor.onServerDrain();
        break;
      case 'segment_state':
        void segmentKeys.apply(message, (reply) => session.send(reply));
        if (message.newKeysWanted === true) void this.#makeKeys(session);
        break;
      case 'audit_checkpoint':
        void this.#options.auditCheckpoint.take(message, (reply) => session.send(reply));
        break;
      case 'test_target':
        void tester.test(message, (reply) => session.send(reply));
        break;
      case 'scan_hosts':
        scanner.onScan(message);
        break;
      case 'scan_cancel':
        scanner.onCancel(message.scanId);
        break;
      case 'clean_up':
        this.#options.cleaner.onCleanUp(message);
        break;
      case 'content_reply':
        this.#options.contents.onReply(message);
        break;
      case 'challenge':
      case 'welcome':
      case 'resumed':
        log.warn({ type: message.type }, 'ignored a handshake message that came after the handshake');
    }
  }

  /** Sends heartbeats, which renew the leases, and ends a connection on which none was acknowledged for too long. */
  #heartbeat(socket: MessageSocket, session: Session, intervalMs: number): () => void {
    const { deadline, executor, disk, segmentKeys, auditCheckpoint, busyLimits } = this.#options;
    let sequence = 0;
    const beat = () => {
      if (deadline.passed()) {
        socket.terminate();
        return;
      }
      sequence += 1;
      deadline.heartbeatSent(sequence);
      const used = measureUsed();
      const busy = disk.refuses ? 'disk' : busyReasonOf(busyLimits, used);
      executor.busy = busy !== undefined;
      socket.send({
        type: 'heartbeat',
        sequence,
        held: executor.heldPairs(),
        ...used,
        ...(busy === undefined ? {} : { busy }),
        spoolBytes: executor.spoolBytes,
        ...(auditCheckpoint.size === undefined ? {} : { auditSize: auditCheckpoint.size }),
      });
    };
    beat();
    // The server may lease more until it hears of this; those steps are handed back and leased again.
    disk.onRefusal = beat;
    void disk.measure();
    const timer = setInterval(() => {
      void disk.measure();
      if (disk.refuses) void disk.mend();
      void segmentKeys.retry();
      this.#offerKeys(session);
      beat();
    }, intervalMs);
    return () => {
      clearInterval(timer);
      disk.onRefusal = () => undefined;
    };
  }
}
