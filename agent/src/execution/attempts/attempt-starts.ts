// Checks that an attempt may begin, and gets its start onto disk before anything of it is on its target.
import type { Lease } from '@opsconductor/protocol';
import type { GrantGuard } from '../../grants/grant-guard.ts';
import type { Journal } from '../../journal/journal.ts';
import type { BeforeStart } from '../../steps/step-type.ts';
import { machineTimeBefore } from '../../timing/machine-time.ts';
import type { LeaseDeadline } from '../lease-deadline.ts';
import type { Session } from '../session.ts';
import { MayNotBegin } from '../step/execute-step.ts';
import { hasOutputFile, withoutValues } from '../step/step-outputs.ts';
import type { Attempt } from './attempt.ts';
import { survivesOf } from './held-attempts.ts';

export interface AttemptStartsOptions {
  journal: Pick<Journal, 'durable'>;
  grants: Pick<GrantGuard, 'begin'>;
  deadline: Pick<LeaseDeadline, 'passed'>;
  /** Whether the agent was stopped: from then on nothing is recorded. */
  isStopped(): boolean;
  session(): Session | undefined;
}

export class AttemptStarts {
  readonly #options: AttemptStartsOptions;
  /** Attempts that began without a session, so that the server doesn't know it yet. */
  readonly #untold = new Set<Attempt>();

  constructor(options: AttemptStartsOptions) {
    this.#options = options;
  }

  /**
   * Resolves when the attempt may begin on its target. It may be called again if what was begun turned out not to be.
   *
   * @param lease the lease as it arrived; `checked` is the lease as the agent runs it.
   * @throws {MayNotBegin} if it may not; nothing was begun then.
   */
  async begin(
    attempt: Attempt,
    { lease, checked }: { lease: Lease; checked: Lease },
    how: BeforeStart | undefined,
  ): Promise<void> {
    this.#assertMayBegin(attempt);
    const notBegun = this.#options.grants.begin(lease);
    try {
      await this.#record(attempt, checked, how);
    } catch (error) {
      notBegun();
      throw error;
    }
  }

  tellUntold(session: Session): void {
    for (const attempt of this.#untold) session.send(startOf(attempt));
    this.#untold.clear();
  }

  /** Drops the pending report of a start: the report of the end implies it. */
  forget(attempt: Attempt): void {
    this.#untold.delete(attempt);
  }

  async #record(attempt: Attempt, lease: Lease, how: BeforeStart | undefined): Promise<void> {
    const { step, epoch, leaseToken } = attempt;
    let noMore = false;
    try {
      const at = new Date();
      // The target could not keep the command running by itself, so it is begun again as one that does not survive.
      noMore = how === undefined && attempt.survivingSinceMs !== undefined;
      attempt.survivingSinceMs = how === undefined ? undefined : performance.now();
      const survives =
        how === undefined
          ? {}
          : { ...machineTimeBefore(0), survives: withoutValues(lease, how.survivesWith) };
      const record = { is: 'starting', step, epoch, leaseToken, at: at.toISOString(), ...survives } as const;
      await this.#options.journal.durable(record);
    } catch (cause) {
      throw new MayNotBegin('no_journal', { cause });
    }
    // The write may have taken longer than the lease lasted.
    this.#assertMayBegin(attempt);
    attempt.state = 'running';
    attempt.hasOutputFile = hasOutputFile(lease);
    attempt.output.begin();
    const session = this.#options.session();
    if (session === undefined) this.#untold.add(attempt);
    else session.send(noMore ? { ...startOf(attempt), survives: false } : startOf(attempt));
  }

  #assertMayBegin(attempt: Attempt): void {
    if (this.#options.isStopped() || attempt.revoked || attempt.forgotten) throw new MayNotBegin('revoked');
    if (attempt.signal.aborted) throw new MayNotBegin('stopped');
    if (this.#options.deadline.passed()) throw new MayNotBegin('lease_expired');
  }
}

function startOf(attempt: Attempt) {
  return { type: 'started', ...attempt.name, ...survivesOf(attempt) } as const;
}
