// The end of an attempt: its outcome is put on disk and reported until the server has confirmed it. Every other way in
// which the agent stops holding an attempt is here, too.
import { randomUUID } from 'node:crypto';
import type { Lease, StepOutcome } from '@opsconductor/protocol';
import type { Logger } from 'pino';
import type { ServerAbilities } from '../../connection/server-abilities.ts';
import type { Journal } from '../../journal/journal.ts';
import { attemptKey } from '../../journal/replay.ts';
import type { Disk } from '../disk.ts';
import type { UsableCredential } from '../secrets/credential-opener.ts';
import type { Session } from '../session.ts';
import type { Execution } from '../step/execute-step.ts';
import type { KnownStepTypes } from '../step/known-step-types.ts';
import type { Attempt, Completion } from './attempt.ts';
import type { AttemptStarts } from './attempt-starts.ts';
import type { Followers } from './followers.ts';
import type { HeldAttempts } from './held-attempts.ts';
import { tellLostOutput } from './lost-output.ts';
import { finishedRecord } from './recover-attempts.ts';
import { leftOnTarget, removeFromTarget } from './remove-from-target.ts';
import type { SettledLeases } from './settled-leases.ts';

export interface AttemptEndsOptions {
  installationId: string;
  journal: Pick<Journal, 'durable' | 'note'>;
  disk: Pick<Disk, 'refuses'>;
  stepTypes: KnownStepTypes;
  openCredential(lease: Lease): Promise<UsableCredential>;
  attempts: Pick<HeldAttempts, 'delete'>;
  settledLeases: Pick<SettledLeases, 'add'>;
  starts: Pick<AttemptStarts, 'forget'>;
  followers: Pick<Followers, 'of' | 'takeAfter' | 'takeAllAfter'>;
  /** Begins an attempt in the slot of the one that it follows. */
  beginAtOnce(attempt: Attempt): void;
  /** Called after an attempt ended because the target's host key is not an accepted one. */
  onHostKeyRefused(lease: Lease, session: Session): void;
  /** Called after an attempt ended because a host refused the login. */
  onLoginRefused(lease: Lease): void;
  /** Called after a step ended because the owner of this machine does not allow a path on it. */
  onPathRefused(lease: Lease, outcome: StepOutcome): void;
  /** Called when an attempt is settled; `removed` resolves when its output is gone from the disk, and never rejects. */
  onSettled(removed: Promise<void>): void;
  /** Whether the agent was stopped: from then on nothing is recorded. */
  isStopped(): boolean;
  session(): Session | undefined;
  /** Abilities of the session's server, or of the last one's. */
  server(): ServerAbilities | undefined;
  log: Logger;
}

/** How long the record of an end may wait for that of the start which follows, in ms. */
const joinWithinMs = 5;

export class AttemptEnds {
  readonly #options: AttemptEndsOptions;
  /** What is being removed from targets. None of these rejects. */
  readonly #removals = new Set<Promise<void>>();

  constructor(options: AttemptEndsOptions) {
    this.#options = options;
  }

  /** Called when the work on an attempt is over, whatever came of it. */
  async ended(attempt: Attempt, execution: Execution): Promise<void> {
    // It may have ended before its step type was told to begin, for which a shell may be waiting on the target.
    this.#forgo(attempt);
    if ('outcome' in execution) await this.#finish(attempt, execution);
    else if ('taken' in execution) this.#collectedElsewhere(attempt);
    else if (execution.notBegun === 'revoked') this.settle(attempt);
    // The server already knows that the disk refuses, and leases the step to another agent, or to this one later.
    else this.returnUnbegun([attempt], execution.notBegun === 'no_journal' ? 'draining' : execution.notBegun);
  }

  /**
   * The target says that another agent collects the command, but a target may lie. The server knows: if another agent
   * has the attempt, it ignores what is handed back here; if not, it gives the command to an agent again.
   */
  #collectedElsewhere(attempt: Attempt): void {
    const { step, epoch } = attempt;
    attempt.taken = true;
    if (attempt.forgotten) {
      this.settle(attempt);
      return;
    }
    this.#options.log.warn(
      { step, epoch },
      'the target says that another agent collects this command; it was handed back to the server, which knows whether one does',
    );
    // Without a session it stays listed: a resume that is under way may have named it.
    if (this.#options.session() !== undefined) this.returnCommand(attempt);
  }

  /** Returns attempts that will not begin. Without a connection, their absence from the next resume says so. */
  returnUnbegun(attempts: Attempt[], reason: 'draining' | 'lease_expired' | 'no_key'): void {
    if (attempts.length === 0) return;
    this.#options.session()?.send({ type: 'return', attempts: attempts.map(({ name }) => name), reason });
    for (const attempt of attempts) this.settle(attempt);
  }

  /** Returns a command that goes on by itself, for any agent that can continue reading its output, even this one. */
  returnCommand(attempt: Attempt): void {
    attempt.taken = true;
    // A server that doesn't know this reason finds the attempt missing from the next resume.
    if (this.#options.server()?.can('take_over') === true)
      this.#options.session()?.send({ type: 'return', attempts: [attempt.name], reason: 'output_lost' });
    this.settle(attempt);
  }

  async #finish(
    attempt: Attempt,
    { outcome: ended, handsOn, transfers, masking }: Extract<Execution, { outcome: StepOutcome }>,
  ): Promise<void> {
    const output = await attempt.output.close();
    const detections = masking?.detections;
    const outcome = detections === undefined ? ended : { ...ended, detections };
    if (this.#options.isStopped()) return;
    if (outcome.reason === 'path_refused' && attempt.lease !== undefined)
      this.#options.onPathRefused(attempt.lease, outcome);
    attempt.state = 'finished';
    this.#options.starts.forget(attempt);
    if (attempt.forgotten) {
      this.settle(attempt);
      return;
    }
    if (outcome.reason === 'auth_failed' && attempt.lease !== undefined)
      this.#options.onLoginRefused(attempt.lease);
    const completion: Completion = {
      requestId: randomUUID(),
      outcome: tellLostOutput(outcome, attempt.output),
      output: { ...output, digest: attempt.output.digest, gaps: attempt.output.gaps },
      ...(handsOn === undefined ? {} : { handsOn }),
      ...(transfers === undefined ? {} : { transfers }),
    };
    const isFollowed = this.#options.followers.of(attempt) !== undefined && isSuccess(completion.outcome);
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
    const session = this.#options.session();
    if (session === undefined) return;
    session.output.offer(attempt.output);
    const hostKeyRefused = outcome.reason === 'host_key_unknown' || outcome.reason === 'host_key_mismatch';
    if (hostKeyRefused && attempt.lease !== undefined) {
      this.#options.onHostKeyRefused(attempt.lease, session);
    }
  }

  /** Sends the output again from a chunk on, and then the outcome: the server's digest of it was another. */
  resend(attempt: Attempt, completion: Completion, fromSeq: number): void {
    const requestId = randomUUID();
    attempt.completion = { ...completion, requestId };
    this.#options.journal.note(finishedRecord(attempt, attempt.completion));
    const session = this.#options.session();
    session?.output.release(attempt.output.inFlightBytes);
    attempt.output.sendFrom(Math.min(fromSeq, attempt.output.lastSeq + 1));
    session?.output.offer(attempt.output);
  }

  /** The server wants no more reports about it; `isTaken`: because another agent makes them. */
  forget(attempt: Attempt, { isTaken }: { isTaken: boolean }): void {
    attempt.forgotten = true;
    attempt.output.discard();
    const { log } = this.#options;
    const { step, epoch } = attempt;
    if (isTaken) {
      log.info(
        { step, epoch },
        'another agent has taken this command over, with its output and outcome; what this agent kept of it is dropped',
      );
    } else {
      log.warn(
        { step, epoch },
        'the server does not know this attempt any more; its output and outcome are dropped, and a running command continues',
      );
    }
    // A running command goes on, since nobody asked to end it. Its attempt is dropped when it ends.
    const waits = attempt.toReattach && !attempt.reattaching;
    if (attempt.state === 'finished' || attempt.state === 'interrupted' || waits) this.settle(attempt);
  }

  /** Ends the attempt permanently and removes every trace of it. */
  settle(attempt: Attempt): void {
    const { attempts, followers, settledLeases, starts, journal, log } = this.#options;
    if (!attempts.delete(attempt)) return;
    // It has not ended here in a way that something could follow.
    this.returnUnbegun(followers.takeAllAfter(attempt), 'lease_expired');
    this.#forgo(attempt);
    settledLeases.add(attempt.leaseToken);
    settledLeases.add(attemptKey(attempt));
    starts.forget(attempt);
    const session = this.#options.session();
    session?.output.forget(attempt.output);
    session?.output.release(attempt.output.inFlightBytes);
    const { step, epoch } = attempt;
    const removed = attempt.output.remove().catch((error: unknown) => {
      log.warn(
        { err: error, spool: attemptKey(attempt) },
        'the output file of a settled attempt could not be removed from the spool',
      );
    });
    this.#options.onSettled(removed);
    if (leftOnTarget(attempt) === undefined) {
      journal.note({ is: 'settled', step, epoch });
      return;
    }
    const removal = removeFromTarget(attempt, this.#options)
      .catch((error: unknown) => {
        log.warn(
          { err: error, step, epoch },
          'temporary files of this attempt could not be removed from its target',
        );
      })
      .finally(() => {
        // Not before: of an agent that is killed meanwhile, the next process finds the attempt, hears from the server that
        // it is settled, and removes what is left.
        journal.note({ is: 'settled', step, epoch });
        this.#removals.delete(removal);
      });
    this.#removals.add(removal);
  }

  /** Resolves when nothing is being removed from a target. */
  async removed(): Promise<void> {
    while (this.#removals.size > 0) await Promise.all(this.#removals);
  }

  /** Drops what was prepared for an attempt and not used. */
  #forgo(attempt: Attempt): void {
    const { stepTypes, installationId } = this.#options;
    if (attempt.lease === undefined) return;
    stepTypes.get(attempt.lease.stepType)?.forgo?.(attempt.marker(installationId));
  }

  /**
   * Begins what was leased to follow an attempt that has ended, in its slot, or gives it back: also if the disk refuses
   * what would have to be kept of it. Called once the end has gone to the journal, in which no start of what follows
   * may come before it.
   */
  #goOnAfter(attempt: Attempt, outcome: StepOutcome): void {
    const { refuses } = this.#options.disk;
    attempt.mayBeFollowed = isSuccess(outcome) && !refuses;
    if (!attempt.mayBeFollowed) {
      this.returnUnbegun(
        this.#options.followers.takeAllAfter(attempt),
        refuses ? 'draining' : 'lease_expired',
      );
      return;
    }
    const next = this.#options.followers.takeAfter(attempt);
    if (next === undefined) return;
    if (next.revoked || next.forgotten) this.settle(next);
    else this.#options.beginAtOnce(next);
  }
}

function isSuccess({ status }: StepOutcome): boolean {
  return status === 'succeeded' || status === 'skipped';
}
