// What has to be so for an attempt to begin, and that its start is on disk before anything of it is on its target.
import type { Lease } from '@opsconductor/protocol';
import type { GrantGuard } from '../../grants/grant-guard.ts';
import type { Journal } from '../../journal/journal.ts';
import type { BeforeStart } from '../../steps/step-type.ts';
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
  /** Nothing is recorded any more. */
  isStopped(): boolean;
  session(): Session | undefined;
}

export class AttemptStarts {
  readonly #options: AttemptStartsOptions;
  /** Attempts that began while the server still thought that they had not. */
  readonly #untold = new Set<Attempt>();

  constructor(options: AttemptStartsOptions) {
    this.#options = options;
  }

  /**
   * Once this resolves the attempt may be begun on its target; it may be called again, where what was begun turned out not to be.
   *
   * @param lease as it came; `checked`: as the agent runs it.
   * @throws {MayNotBegin} nothing was begun.
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

  /** Its end says that it began. */
  forget(attempt: Attempt): void {
    this.#untold.delete(attempt);
  }

  async #record(attempt: Attempt, lease: Lease, how: BeforeStart | undefined): Promise<void> {
    const { step, epoch, leaseToken } = attempt;
    let noMore = false;
    try {
      const at = new Date();
      // Where the target could not have it go on by itself, it is begun again so that it does not.
      noMore = how === undefined && attempt.survivingSince !== undefined;
      attempt.survivingSince = how === undefined ? undefined : at;
      const survives = how === undefined ? {} : { survives: withoutValues(lease, how.survivesWith) };
      const record = { is: 'starting', step, epoch, leaseToken, at: at.toISOString(), ...survives } as const;
      await this.#options.journal.durable(record);
    } catch (cause) {
      throw new MayNotBegin('no_journal', { cause });
    }
    // The disk may have taken longer than the lease had left.
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
