// Holds every attempt from its lease to its confirmed end, across connections and restarts of this process. The server
// is told what the journal says.
import { randomUUID } from 'node:crypto';
import {
  type JournalAttempt,
  type Lease,
  limits,
  type ServerMessageOf,
  type StepOutcome,
  type TransferProgress,
} from '@opsconductor/protocol';
import type { Logger } from 'pino';
import type { ServerAbilities } from '../connection/server-abilities.ts';
import type { ContentLink } from '../contents/content-link.ts';
import type { GrantGuard } from '../grants/grant-guard.ts';
import type { Journal } from '../journal/journal.ts';
import { attemptKey } from '../journal/replay.ts';
import type { PolicyGuard } from '../policy/policy-guard.ts';
import type { AttemptOutput } from '../spool/attempt-output.ts';
import { Attempt, attemptMarker, type Completion } from './attempts/attempt.ts';
import { AttemptOutputs } from './attempts/attempt-outputs.ts';
import { AttemptStarts } from './attempts/attempt-starts.ts';
import { Followers } from './attempts/followers.ts';
import { HeldAttempts } from './attempts/held-attempts.ts';
import { tellLostOutput } from './attempts/lost-output.ts';
import { finishedRecord, interruptedOutcome, recoverAttempts } from './attempts/recover-attempts.ts';
import { removeFromTarget } from './attempts/remove-from-target.ts';
import { SettledLeases } from './attempts/settled-leases.ts';
import { TakeUps } from './attempts/take-up.ts';
import type { Disk } from './disk.ts';
import type { LeaseDeadline } from './lease-deadline.ts';
import type { UsableCredential } from './secrets/credential-opener.ts';
import type { RunSecrets } from './secrets/run-secrets.ts';
import type { Session } from './session.ts';
import { Slots } from './slots.ts';
import { type Execution, executeStep, killGraceOf, stoppedOutcome } from './step/execute-step.ts';
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
  disk: Pick<Disk, 'refuses' | 'outputRefused'>;
  deadline: LeaseDeadline;
  stepTypes: KnownStepTypes;
  openCredential(lease: Lease): Promise<UsableCredential>;
  secrets: Pick<RunSecrets, 'open' | 'seal' | 'canSeal'>;
  contents: Pick<ContentLink, 'ask'>;
  /** Called after an attempt ended because the target's host key is not an accepted one. */
  onHostKeyRefused(lease: Lease, session: Session): void;
  /** Called after an attempt ended because a host refused the login. */
  onLoginRefused(lease: Lease): void;
  policy: Pick<PolicyGuard, 'checkStep' | 'checkScript' | 'checkConfig' | 'maySurvive' | 'detectsSecrets'>;
  grants: Pick<GrantGuard, 'check' | 'checkTakeOver' | 'begin'>;
  /** Called after a step ended because the owner of this machine does not allow a path on it. */
  onPathRefused(lease: Lease, outcome: StepOutcome): void;
  monotonicMs(): number;
  log: Logger;
}

/** How long the record of an end may wait for that of the start which follows, in ms. */
const joinWithinMs = 5;

export class Executor {
  readonly #options: ExecutorOptions;
  readonly #attempts = new HeldAttempts();
  readonly #outputs: AttemptOutputs;
  readonly #starts: AttemptStarts;
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
  /** While set, completions ask for no next step. A step that is leased anyway is accepted. */
  busy = false;
  readonly #settledLeases = new SettledLeases();

  constructor(options: ExecutorOptions) {
    this.#options = options;
    const { journal, grants, deadline, stepTypes, policy, disk, monotonicMs, log } = options;
    this.#slots = new Slots({ slots: options.slots, work: (attempt) => this.#run(attempt) });
    this.#followers = new Followers({
      keepMs: options.stepsAheadMs ?? limits.stepsAheadMs,
      onKeptTooLong: (attempts) => this.#giveBack(attempts, 'lease_expired'),
    });
    this.#outputs = new AttemptOutputs({
      ...{ spoolFolder: options.spoolFolder, spareSpool: options.spareSpool, disk, monotonicMs, log },
      onStored: (output) => this.#session?.output.offer(output),
    });
    this.#starts = new AttemptStarts({
      ...{ journal, grants, deadline },
      isStopped: () => this.#stopped,
      session: () => this.#session,
    });
    this.#takeUps = new TakeUps({
      ...{ journal, stepTypes, policy, grants, log, attempts: this.#attempts },
      newOutput: (lease, before) => this.#outputs.create(lease, before),
      takesNothing: () => this.#takesNothing(),
      readOn: (attempt, ackedSeq) => this.#reattach(attempt, ackedSeq),
      giveUp: (attempt) => this.#handBack(attempt),
    });
  }

  /** Takes over from an earlier process: its outcomes are sent again, and what it was doing is reported as unknown. */
  async recover(): Promise<void> {
    const { journal, spoolFolder } = this.#options;
    const outputs = this.#outputs;
    for (const attempt of await recoverAttempts({ journal, spoolFolder, outputs }))
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

  // ---- what the server says

  /** Applies the server's verdicts on what `journalAttempts` listed, at the start of a session. */
  sessionBegan(session: Session, { attempts }: ServerMessageOf<'resumed'>): void {
    this.#session = session;
    this.#server = session.server;
    this.#sessionDraining = false;
    for (const { step, epoch, verdict, ackedSeq, settled, taken } of attempts) {
      const attempt = this.#attempts.get({ step, epoch });
      if (attempt === undefined) continue;
      if (attempt.taken) {
        if (verdict === 'forget') this.#settle(attempt);
        else this.#handBack(attempt);
        continue;
      }
      if (verdict === 'forget') {
        attempt.taken = taken === true || attempt.takingUp;
        // The server has recorded the end, but its reply was lost with the connection.
        if (settled === true && attempt.completion !== undefined) this.#settle(attempt);
        else this.#forget(attempt);
        continue;
      }
      this.#reconcileOutput(attempt, ackedSeq);
      if (verdict === 'superseded' && attempt.state === 'leased') attempt.revoked = true;
      if (attempt.toReattach && !attempt.takingUp) this.#reattach(attempt, ackedSeq);
      if (verdict === 'cancel') this.#cancel(attempt);
    }
    this.#starts.tellUntold(session);
    for (const attempt of this.#attempts) {
      if (!attempt.forgotten) session.output.offer(attempt.output);
    }
  }

  sessionEnded(): void {
    this.#session = undefined;
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
  }

  onCompleted({ requestId, step, epoch, result, fromSeq, next }: ServerMessageOf<'completed'>): void {
    const attempt = this.#attempts.get({ step, epoch });
    // A reply to a request that another one has replaced says nothing about the current one.
    if (attempt?.completion?.requestId === requestId) {
      if (result === 'resend') this.#resend(attempt, attempt.completion, fromSeq ?? 1);
      else this.#settle(attempt);
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
      if (!this.#slots.isWorking(attempt)) this.#settle(attempt);
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
    this.#giveBack([...this.#slots.withdrawAll(), ...this.#followers.takeAll()], 'draining');
  }

  /** Resolves when nothing is executing and the server has confirmed every end. */
  async idle(): Promise<void> {
    await this.#attempts.idle();
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

  /**
   * Begins what was leased to follow an attempt that has ended, in its slot, or gives it back. Called once the end is in
   * the journal, in which no start of what follows may come before it.
   */
  #goOnAfter(attempt: Attempt, outcome: StepOutcome): void {
    attempt.mayBeFollowed = isSuccess(outcome);
    if (!attempt.mayBeFollowed) {
      this.#giveBack(this.#followers.takeAllAfter(attempt), 'lease_expired');
      return;
    }
    const next = this.#followers.takeAfter(attempt);
    if (next === undefined) return;
    if (next.revoked || next.forgotten) this.#settle(next);
    else this.#slots.enterAtOnce(next);
  }

  /** Continues reading a command's output. Needs the server's position first, since reading continues from there. */
  #reattach(attempt: Attempt, ackedSeq: number): void {
    if (attempt.lease === undefined || attempt.reattaching) return;
    attempt.reattaching = true;
    if (ackedSeq > attempt.output.lastSeq) {
      // This disk has lost chunks that the server has, and with them the position to read from. The server knows it.
      if (this.#server?.can('take_over') === true) this.#handBack(attempt);
      else void this.#ended(attempt, { outcome: interruptedOutcome });
      return;
    }
    this.#slots.enterAtOnce(attempt);
  }

  /** Hands back a command that goes on by itself to any agent that can continue reading its output, even this one. */
  #handBack(attempt: Attempt): void {
    attempt.taken = true;
    // A server that doesn't know this reason finds the attempt missing from the next resume.
    if (this.#server?.can('take_over') === true)
      this.#session?.send({ type: 'return', attempts: [attempt.name], reason: 'output_lost' });
    this.#settle(attempt);
  }

  /** Never rejects: an unexpected error is logged. */
  async #run(attempt: Attempt): Promise<void> {
    const { lease } = attempt;
    if (lease === undefined) return;
    try {
      const execution = await executeStep({
        attempt,
        lease,
        stepTypes: this.#options.stepTypes,
        installationId: this.#options.installationId,
        maySurvive: this.#options.policy.maySurvive && this.#server?.can('survive_agent_restart') === true,
        policy: this.#options.policy,
        grants: this.#options.grants,
        openCredential: (opened) => this.#options.openCredential(opened),
        secrets: this.#options.secrets,
        onSecrets: (secrets) => attempt.output.maskSecrets(secrets),
        onProgress: (transfer) => this.#tellProgress(attempt, transfer),
        askServer: (request) => this.#options.contents.ask(attempt.name, request, attempt.signal),
        followedBy: () => this.#markerAfter(attempt),
        begin: (checked, how) => this.#starts.begin(attempt, { lease, checked }, how),
      });
      if (!this.#stopped) await this.#ended(attempt, execution);
    } catch (error) {
      this.#options.log.error(
        { err: error, step: attempt.step, epoch: attempt.epoch },
        'an unexpected error ended the work on this attempt without an outcome; check its target, and report this bug',
      );
    }
  }

  /** The marker of what follows, if it is a command like this one. */
  #markerAfter(attempt: Attempt): string | undefined {
    const next = this.#followers.of(attempt);
    if (next?.lease?.stepType !== attempt.lease?.stepType) return undefined;
    return next?.marker(this.#options.installationId);
  }

  async #ended(attempt: Attempt, execution: Execution): Promise<void> {
    if ('outcome' in execution) await this.#finish(attempt, execution);
    else if ('taken' in execution) this.#collectedElsewhere(attempt);
    else if (execution.notBegun === 'revoked') this.#settle(attempt);
    // The server already knows that the disk refuses, and leases the step to another agent, or to this one later.
    else this.#giveBack([attempt], execution.notBegun === 'no_journal' ? 'draining' : execution.notBegun);
  }

  /**
   * The target says that another agent collects the command, but a target may lie. The server knows: if another agent
   * has the attempt, it ignores what is handed back here; if not, it gives the command to an agent again.
   */
  #collectedElsewhere(attempt: Attempt): void {
    const { step, epoch } = attempt;
    attempt.taken = true;
    if (attempt.forgotten) {
      this.#settle(attempt);
      return;
    }
    this.#options.log.warn(
      { step, epoch },
      'the target says that another agent collects this command; it was handed back to the server, which knows whether one does',
    );
    // Without a session it stays listed: a resume that is under way may have named it.
    if (this.#session !== undefined) this.#handBack(attempt);
  }

  /** Returns attempts that will not begin. Without a connection, their absence from the next resume says so. */
  #giveBack(attempts: Attempt[], reason: 'draining' | 'lease_expired' | 'no_key'): void {
    if (attempts.length === 0) return;
    this.#session?.send({ type: 'return', attempts: attempts.map(({ name }) => name), reason });
    for (const attempt of attempts) this.#settle(attempt);
  }

  #cancel(attempt: Attempt): void {
    const { lease } = attempt;
    if (lease === undefined || attempt.completion !== undefined) return;
    attempt.stop({ cause: 'cancelled', killGraceMs: killGraceOf(lease) });
    if (!this.#slots.withdraw(attempt)) return;
    void this.#ended(attempt, { outcome: stoppedOutcome({ cause: 'cancelled', killGraceMs: 0 }) });
  }

  /** Nothing depends on progress, so it is dropped when there is no session. */
  #tellProgress({ step, epoch, forgotten }: Attempt, transfer: TransferProgress): void {
    if (forgotten || this.#session?.server.can('transfers') !== true) return;
    this.#session.send({ type: 'progress', step, epoch, transfer });
  }

  // ---- ends

  async #finish(
    attempt: Attempt,
    { outcome: ended, handsOn, transfers, masking }: Extract<Execution, { outcome: StepOutcome }>,
  ): Promise<void> {
    const output = await attempt.output.close();
    const detections = masking?.detections;
    const outcome = detections === undefined ? ended : { ...ended, detections };
    if (this.#stopped) return;
    if (outcome.reason === 'path_refused' && attempt.lease !== undefined)
      this.#options.onPathRefused(attempt.lease, outcome);
    attempt.state = 'finished';
    this.#starts.forget(attempt);
    if (attempt.forgotten) {
      this.#settle(attempt);
      return;
    }
    if (outcome.reason === 'auth_failed' && attempt.lease !== undefined)
      this.#options.onLoginRefused(attempt.lease);
    const completion: Completion = {
      requestId: randomUUID(),
      outcome: tellLostOutput(outcome, attempt.output.failure),
      output: { ...output, digest: attempt.output.digest, gaps: [] },
      ...(handsOn === undefined ? {} : { handsOn }),
      ...(transfers === undefined ? {} : { transfers }),
    };
    const isFollowed = this.#followers.of(attempt) !== undefined && isSuccess(completion.outcome);
    // If another attempt follows, its start goes to disk in the same write.
    const recorded = this.#options.journal.durable(
      finishedRecord(attempt, completion),
      isFollowed ? joinWithinMs : 0,
    );
    this.#goOnAfter(attempt, completion.outcome);
    try {
      await recorded;
    } catch (error) {
      // The outcome is known now but may not be after a restart: reporting it is better than losing it.
      const { step, epoch } = attempt;
      this.#options.log.error(
        { err: error, step, epoch },
        'the outcome of this attempt could not be written to the journal; it is lost if this agent restarts before the server has it',
      );
    }
    attempt.completion = completion;
    if (this.#session === undefined) return;
    this.#session.output.offer(attempt.output);
    const hostKeyRefused = outcome.reason === 'host_key_unknown' || outcome.reason === 'host_key_mismatch';
    if (hostKeyRefused && attempt.lease !== undefined) {
      this.#options.onHostKeyRefused(attempt.lease, this.#session);
    }
  }

  #resend(attempt: Attempt, completion: Completion, fromSeq: number): void {
    const requestId = randomUUID();
    attempt.completion = { ...completion, requestId };
    this.#options.journal.note(finishedRecord(attempt, attempt.completion));
    this.#session?.output.release(attempt.output.inFlightBytes);
    attempt.output.sendFrom(Math.min(fromSeq, attempt.output.lastSeq + 1));
    this.#session?.output.offer(attempt.output);
  }

  #forget(attempt: Attempt): void {
    attempt.forgotten = true;
    attempt.output.discard();
    this.#options.log.warn(
      { step: attempt.step, epoch: attempt.epoch },
      'the server does not know this attempt any more; its output and outcome are dropped, and a running command continues',
    );
    // A running command goes on, since nobody asked to end it. Its attempt is dropped when it ends.
    const waits = attempt.toReattach && !attempt.reattaching;
    if (attempt.state === 'finished' || attempt.state === 'interrupted' || waits) this.#settle(attempt);
  }

  /** Ends the attempt permanently and removes every trace of it. */
  #settle(attempt: Attempt): void {
    if (!this.#attempts.delete(attempt)) return;
    // It has not ended here in a way that something could follow.
    this.#giveBack(this.#followers.takeAllAfter(attempt), 'lease_expired');
    this.#forgo(attempt);
    this.#settledLeases.add(attempt.leaseToken);
    this.#settledLeases.add(attemptKey(attempt));
    this.#starts.forget(attempt);
    this.#session?.output.forget(attempt.output);
    this.#session?.output.release(attempt.output.inFlightBytes);
    this.#options.journal.note({ is: 'settled', step: attempt.step, epoch: attempt.epoch });
    attempt.output.remove().catch((error: unknown) => {
      this.#options.log.warn(
        { err: error, spool: attemptKey(attempt) },
        'the output file of a settled attempt could not be removed from the spool',
      );
    });
    const { step, epoch } = attempt;
    removeFromTarget(attempt, this.#options).catch((error: unknown) => {
      this.#options.log.warn(
        { err: error, step, epoch },
        'temporary files of this attempt could not be removed from its target',
      );
    });
  }

  /** Drops what was prepared for an attempt that never began. */
  #forgo(attempt: Attempt): void {
    const { stepTypes, installationId } = this.#options;
    if (attempt.state !== 'leased' || attempt.lease === undefined) return;
    stepTypes.get(attempt.lease.stepType)?.forgo?.(attempt.marker(installationId));
  }

  // ---- output

  #reconcileOutput(attempt: Attempt, ackedSeq: number): void {
    const { output, completion } = attempt;
    output.sendFrom(Math.min(ackedSeq, output.lastSeq) + 1);
    output.acknowledge(ackedSeq);
    // The server has chunks that this disk lost in a crash; they are not in the digest.
    if (completion !== undefined && ackedSeq > completion.output.lastSeq) {
      completion.output.gaps = [[output.lastSeq + 1, ackedSeq]];
      completion.output.lastSeq = ackedSeq;
    }
  }
}

function isSuccess({ status }: StepOutcome): boolean {
  return status === 'succeeded' || status === 'skipped';
}
