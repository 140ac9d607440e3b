// Holds every attempt from its lease to its confirmed end, across connections and restarts of this process. The server
// is told what the journal says.
import {
  type JournalAttempt,
  type Lease,
  limits,
  type ServerMessageOf,
  type StepOutcome,
} from '@opsconductor/protocol';
import type { Logger } from 'pino';
import type { ServerAbilities } from '../connection/server-abilities.ts';
import type { ContentLink } from '../contents/content-link.ts';
import type { GrantGuard } from '../grants/grant-guard.ts';
import type { Journal } from '../journal/journal.ts';
import { attemptKey } from '../journal/replay.ts';
import type { PolicyGuard } from '../policy/policy-guard.ts';
import type { AttemptOutput } from '../spool/attempt-output.ts';
import { Attempt, attemptMarker } from './attempts/attempt.ts';
import { AttemptEnds } from './attempts/attempt-ends.ts';
import { AttemptOutputs } from './attempts/attempt-outputs.ts';
import { AttemptStarts } from './attempts/attempt-starts.ts';
import { AttemptWork } from './attempts/attempt-work.ts';
import { Followers } from './attempts/followers.ts';
import { HeldAttempts } from './attempts/held-attempts.ts';
import { interruptedOutcome, recoverAttempts } from './attempts/recover-attempts.ts';
import { SettledLeases } from './attempts/settled-leases.ts';
import { TakeUps } from './attempts/take-up.ts';
import type { Disk } from './disk.ts';
import type { LeaseDeadline } from './lease-deadline.ts';
import type { UsableCredential } from './secrets/credential-opener.ts';
import type { RunSecrets } from './secrets/run-secrets.ts';
import type { Session } from './session.ts';
import { Slots } from './slots.ts';
import { SpoolRoom } from './spool-room.ts';
import { killGraceOf, stoppedOutcome } from './step/execute-step.ts';
import type { KnownStepTypes } from './step/known-step-types.ts';

export interface ExecutorOptions {
  installationId: string;
  slots: number;
  spoolFolder: string;
  /** How long a step that was leased ahead of its turn is kept, in ms; by default as long as all agents do. */
  stepsAheadMs?: number;
  /** On the same file system as `spoolFolder`. */
  spareSpool: string;
  journal: Journal;
  disk: Pick<Disk, 'refuses' | 'outputRefused' | 'measure'>;
  deadline: LeaseDeadline;
  stepTypes: KnownStepTypes;
  openCredential(lease: Lease): Promise<UsableCredential>;
  secrets: Pick<RunSecrets, 'open' | 'seal' | 'canSeal'>;
  contents: Pick<ContentLink, 'ask'>;
  /** Called after an attempt ended because the target's host key is not an accepted one. */
  onHostKeyRefused(lease: Lease, session: Session): void;
  /** Called after an attempt ended because a host refused the login. */
  onLoginRefused(lease: Lease): void;
  policy: Pick<
    PolicyGuard,
    | 'checkStep'
    | 'checkStepType'
    | 'checkHours'
    | 'checkScript'
    | 'checkConfig'
    | 'maySurvive'
    | 'detectsSecrets'
  >;
  grants: Pick<GrantGuard, 'check' | 'checkTakeOver' | 'begin'>;
  /** Called after a step ended because the owner of this machine does not allow a path on it. */
  onPathRefused(lease: Lease, outcome: StepOutcome): void;
  monotonicMs(): number;
  log: Logger;
}

export class Executor {
  readonly #options: ExecutorOptions;
  readonly #attempts = new HeldAttempts();
  readonly #settledLeases = new SettledLeases();
  readonly #room: SpoolRoom;
  readonly #outputs: AttemptOutputs;
  readonly #starts: AttemptStarts;
  readonly #ends: AttemptEnds;
  readonly #work: AttemptWork;
  readonly #takeUps: TakeUps;
  /** An attempt has its slot before its command has begun. */
  readonly #slots: Slots<Attempt>;
  readonly #followers: Followers;
  #session: Session | undefined;
  /** Abilities of the last session's server. Between sessions, the next server is assumed to have the same. */
  #server: ServerAbilities | undefined;
  #draining = false;
  /** The server asked this session to take nothing new. */
  #sessionDraining = false;
  #stopped = false;
  /** The server has not let this agent in since. */
  #isRefused = false;
  #refusalWaiters: (() => void)[] = [];
  /** While set, completions ask for no next step. A step that is leased anyway is accepted. */
  busy = false;

  constructor(options: ExecutorOptions) {
    this.#options = options;
    const { journal, grants, deadline, stepTypes, policy, disk, monotonicMs, log } = options;
    this.#slots = new Slots({ slots: options.slots, work: (attempt) => this.#work.run(attempt) });
    this.#followers = new Followers({
      keepMs: options.stepsAheadMs ?? limits.stepsAheadMs,
      onKeptTooLong: (attempts) => this.#ends.returnUnbegun(attempts, 'lease_expired'),
    });
    this.#room = new SpoolRoom({
      attempts: this.#attempts,
      isConnected: () => this.#session !== undefined,
      log,
    });
    this.#outputs = new AttemptOutputs({
      spoolFolder: options.spoolFolder,
      spareSpool: options.spareSpool,
      disk,
      monotonicMs,
      log,
      onStored: (output) => this.#session?.output.offer(output),
      makeRoom: () => this.#room.makeRoom(),
    });
    const isStopped = () => this.#stopped;
    const session = () => this.#session;
    const server = () => this.#server;
    this.#starts = new AttemptStarts({ journal, grants, deadline, isStopped, session });
    this.#ends = new AttemptEnds({
      ...options,
      attempts: this.#attempts,
      settledLeases: this.#settledLeases,
      starts: this.#starts,
      followers: this.#followers,
      beginAtOnce: (attempt) => this.#slots.enterAtOnce(attempt),
      onSettled: (removed) => void this.#room.settled(removed),
      isStopped,
      session,
      server,
    });
    this.#work = new AttemptWork({
      ...options,
      starts: this.#starts,
      ends: this.#ends,
      followers: this.#followers,
      isStopped,
      session,
      server,
    });
    this.#takeUps = new TakeUps({
      journal,
      stepTypes,
      policy,
      grants,
      log,
      attempts: this.#attempts,
      newOutput: (lease, base) => this.#outputs.create(lease, base),
      takesNothing: () => this.#takesNothing(),
      readOn: (attempt, ackedSeq) => this.#reattach(attempt, ackedSeq),
      giveUp: (attempt) => this.#ends.returnCommand(attempt),
    });
  }

  /** Takes over from an earlier process: its outcomes are sent again, and what it was doing is reported as unknown. */
  async recover(): Promise<void> {
    const { journal, spoolFolder, log } = this.#options;
    const outputs = this.#outputs;
    for (const attempt of await recoverAttempts({ journal, spoolFolder, outputs, log }))
      this.#attempts.add(attempt);
  }

  // ---- what the server is told

  get draining(): boolean {
    return this.#draining;
  }

  journalAttempts(): { attempts: JournalAttempt[]; complete: boolean } {
    return this.#attempts.forResume();
  }

  heldPairs(): [number, number][] {
    return this.#attempts.pairs();
  }

  holds(attempt: { step: number; epoch: number }): boolean {
    return this.#attempts.has(attempt);
  }

  get spoolBytes(): number {
    return this.#attempts.spoolBytes;
  }

  // ---- the disk

  /** Removes output that the server has confirmed. Returns how many bytes that frees. Never rejects. */
  makeRoom(): Promise<number> {
    return this.#room.release();
  }

  // ---- what the server says

  /** Applies the server's verdicts on what `journalAttempts` listed, at the start of a session. */
  sessionBegan(session: Session, { attempts }: ServerMessageOf<'resumed'>): void {
    this.#session = session;
    this.#server = session.server;
    this.#isRefused = false;
    this.#sessionDraining = false;
    for (const { step, epoch, verdict, ackedSeq, settled, taken } of attempts) {
      const attempt = this.#attempts.get({ step, epoch });
      if (attempt === undefined) continue;
      if (attempt.taken) {
        if (verdict === 'forget') this.#ends.settle(attempt);
        else this.#ends.returnCommand(attempt);
        continue;
      }
      if (verdict === 'forget') {
        attempt.taken = taken === true || attempt.takingUp;
        // The server has recorded the end, but its reply was lost with the connection.
        if (settled === true && attempt.completion !== undefined) this.#ends.settle(attempt);
        else this.#ends.forget(attempt, { isTaken: taken === true });
        continue;
      }
      attempt.reconcileOutput(ackedSeq);
      if (verdict === 'superseded' && attempt.state === 'leased') attempt.revoked = true;
      if (attempt.toReattach && !attempt.takingUp) this.#reattach(attempt, ackedSeq);
      if (verdict === 'cancel') this.#cancel(attempt);
    }
    this.#starts.tellUntold(session);
    for (const attempt of this.#attempts) {
      if (attempt.forgotten) continue;
      session.output.offer(attempt.output);
      // The one before may have been lost with a session, and the server takes none between sessions.
      this.#work.tellSilence(attempt);
    }
  }

  /** The server does not accept this agent: it is revoked there, for example. */
  refused(): void {
    this.#isRefused = true;
    for (const wake of this.#refusalWaiters.splice(0)) wake();
  }

  sessionEnded(): void {
    this.#session = undefined;
    this.#room.confirmedOrGone();
  }

  onLeases(leases: readonly Lease[]): void {
    const refused = leases.filter((lease) => !this.#accept(lease));
    if (refused.length === 0) return;
    const attempts = refused.map(({ step, epoch, leaseToken }) => ({ step, epoch, leaseToken }));
    this.#session?.send({ type: 'return', attempts, reason: 'draining' });
  }

  /** Prepares for steps that may be leased next. This is only a hint: nothing begins, and the leases may never come. */
  onPrepare({ steps }: ServerMessageOf<'prepare'>): void {
    const { stepTypes, installationId } = this.#options;
    for (const { step, epoch, target } of steps) {
      // A frame may come twice.
      const named = { step, epoch };
      if (this.#attempts.has(named) || this.#settledLeases.has(attemptKey(named))) continue;
      stepTypes
        .get('ssh.exec')
        ?.prepare?.({ targetId: target, marker: attemptMarker(installationId, named) });
    }
  }

  /**
   * Takes over commands that other agents began. Each is on disk before it is read, so that a later process can
   * continue it.
   */
  onTakeOver({ attempts }: ServerMessageOf<'take_over'>): void {
    for (const given of attempts) this.#takeUps.begin(given);
  }

  onCancel({ step, epoch }: { step: number; epoch: number }): void {
    const attempt = this.#attempts.get({ step, epoch });
    if (attempt !== undefined) this.#cancel(attempt);
  }

  /** Stops the attempt if it runs here; returns false if there is nothing to stop. */
  stopOwn({ step, epoch }: { step: number; epoch: number }): boolean {
    const attempt = this.#attempts.get({ step, epoch });
    if (attempt === undefined || attempt.state !== 'running') return false;
    this.#cancel(attempt);
    return true;
  }

  onOutputAck({ acks }: ServerMessageOf<'output_ack'>): void {
    for (const { step, epoch, seq } of acks) {
      const attempt = this.#attempts.get({ step, epoch });
      if (attempt !== undefined) this.#session?.output.release(attempt.output.acknowledge(seq));
    }
    this.#room.confirmedOrGone();
  }

  onCompleted({ requestId, step, epoch, result, fromSeq, next }: ServerMessageOf<'completed'>): void {
    const attempt = this.#attempts.get({ step, epoch });
    // A reply to a request that another one has replaced says nothing about the current one.
    if (attempt?.completion?.requestId === requestId) {
      if (result === 'resend') this.#ends.resend(attempt, attempt.completion, fromSeq ?? 1);
      else this.#ends.settle(attempt);
    }
    if (next !== undefined) this.onLeases([next]);
  }

  onServerDrain(): void {
    this.#sessionDraining = true;
  }

  /** Hands back everything that has not begun, because the connection will be gone for long. It never begins here. */
  onHandBack(): void {
    this.#sessionDraining = true;
    const unbegun = [...this.#attempts].filter((attempt) => attempt.state === 'leased');
    this.#slots.withdrawAll();
    this.#followers.takeAll();
    if (unbegun.length > 0) {
      this.#session?.send({
        type: 'return',
        attempts: unbegun.map(({ name }) => name),
        reason: 'draining',
      });
    }
    for (const attempt of unbegun) {
      // Some are still connecting: they find out that they may not begin, and are dropped when they end.
      attempt.forgotten = true;
      attempt.output.discard();
      if (!this.#slots.isWorking(attempt)) this.#ends.settle(attempt);
    }
    this.#session?.send({ type: 'agent_drain' });
  }

  /** Sends the attempt's completion, if it has one, now that all of its stored output has been sent. */
  onOutputCaughtUp(output: AttemptOutput): void {
    const attempt = this.#attempts.get(output);
    const session = this.#session;
    if (attempt?.completion === undefined || attempt.forgotten || session === undefined) return;
    const { completion } = attempt;
    session.send({
      type: 'complete',
      ...attempt.name,
      ...completion,
      outcome: session.server.readable(completion.outcome),
      wantsNext: !this.busy && !this.#takesNothing(),
    });
  }

  // ---- ending

  /** Takes nothing more and hands back what has not begun. */
  drain(): void {
    if (this.#draining) return;
    this.#draining = true;
    this.#session?.send({ type: 'agent_drain' });
    this.#ends.returnUnbegun([...this.#slots.withdrawAll(), ...this.#followers.takeAll()], 'draining');
  }

  /**
   * Resolves when nothing is executing, the server has confirmed every end, and what these attempts kept on their targets
   * is removed. A server that does not accept this agent confirms nothing: the ends stay on disk.
   */
  async idle(): Promise<void> {
    await Promise.race([this.#attempts.idle(), this.#stillAndRefused()]);
    await this.#ends.removed();
  }

  async #stillAndRefused(): Promise<void> {
    do {
      while (!this.#isRefused) await new Promise<void>((resolve) => this.#refusalWaiters.push(resolve));
      await this.#slots.idle();
    } while (!this.#isRefused);
  }

  /** Records nothing from here on: the journal leaves what still runs as interrupted. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#slots.stop();
    this.#followers.takeAll();
    await Promise.all([...this.#attempts].map(({ output }) => output.suspend()));
    await this.#outputs.close();
  }

  // ---- leases

  #takesNothing(): boolean {
    return this.#draining || this.#sessionDraining || this.#stopped || this.#options.disk.refuses;
  }

  /** Returns false if the lease has to be handed back. */
  #accept(lease: Lease): boolean {
    if (this.#attempts.has(lease) || this.#settledLeases.has(lease.leaseToken)) return true;
    if (this.#takesNothing()) return false;
    const before = lease.after === undefined ? undefined : this.#attempts.get(lease.after);
    // What was leased ahead of its turn is kept only while it may still follow.
    if (lease.after !== undefined && (before === undefined || !this.#mayBeFollowed(before))) return false;
    // What is held must fit into a resume, also if every slot is taken.
    const free = Math.max(0, this.#options.slots - this.#slots.working);
    if (lease.after !== undefined && this.#attempts.size + free >= limits.maxHeldAttemptsPerHeartbeat)
      return false;
    const { step, epoch, leaseToken } = lease;
    const output = this.#outputs.create(lease);
    const attempt = new Attempt({ step, epoch, leaseToken, output, lease });
    this.#attempts.add(attempt);
    this.#options.journal.note({ is: 'leased', step, epoch, leaseToken });
    // After the end of the one before, another may have its slot.
    if (before !== undefined && before.mayBeFollowed === undefined) this.#followers.add(attempt, before);
    else this.#slots.enter(attempt);
    return true;
  }

  #mayBeFollowed(attempt: Attempt): boolean {
    const { mayBeFollowed, forgotten, revoked, taken, state } = attempt;
    if (mayBeFollowed === false || forgotten || revoked || taken || state === 'interrupted') return false;
    return this.#followers.of(attempt) === undefined;
  }

  /** Continues reading a command's output. Needs the server's position first, since reading continues from there. */
  #reattach(attempt: Attempt, ackedSeq: number): void {
    if (attempt.lease === undefined || attempt.reattaching) return;
    attempt.reattaching = true;
    if (ackedSeq > attempt.output.lastSeq) {
      // This disk has lost chunks that the server has, and with them the position to read from. The server knows it.
      if (this.#server?.can('take_over') === true) this.#ends.returnCommand(attempt);
      else void this.#ends.ended(attempt, { outcome: interruptedOutcome });
      return;
    }
    this.#slots.enterAtOnce(attempt);
  }

  #cancel(attempt: Attempt): void {
    const { lease } = attempt;
    if (lease === undefined || attempt.completion !== undefined) return;
    attempt.stop({ cause: 'cancelled', killGraceMs: killGraceOf(lease) });
    if (!this.#slots.withdraw(attempt)) return;
    void this.#ends.ended(attempt, { outcome: stoppedOutcome({ cause: 'cancelled', killGraceMs: 0 }) });
  }
}
