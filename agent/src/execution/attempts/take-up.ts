// Takes over commands that other agents began. Before any output is read, it has to be known and on disk that this
// agent may continue the command.
import type { Lease, ServerMessageOf, StoredOutput, TakenOver } from '@opsconductor/protocol';
import type { Logger } from 'pino';
import type { GrantGuard } from '../../grants/grant-guard.ts';
import type { Journal } from '../../journal/journal.ts';
import type { PolicyGuard } from '../../policy/policy-guard.ts';
import type { AttemptOutput } from '../../spool/attempt-output.ts';
import { machineTimeBefore } from '../../timing/machine-time.ts';
import type { KnownStepTypes } from '../step/known-step-types.ts';
import { hasOutputFile, withoutValues } from '../step/step-outputs.ts';
import { Attempt } from './attempt.ts';
import type { HeldAttempts } from './held-attempts.ts';

export interface TakeUpsOptions {
  attempts: Pick<HeldAttempts, 'has' | 'add'>;
  journal: Pick<Journal, 'durable' | 'note'>;
  stepTypes: KnownStepTypes;
  policy: Pick<PolicyGuard, 'checkStepType' | 'checkScript' | 'checkConfig' | 'maySurvive'>;
  grants: Pick<GrantGuard, 'checkTakeOver'>;
  newOutput(lease: Lease, before: StoredOutput): AttemptOutput;
  takesNothing(): boolean;
  /** Continues to read the command's output after what the server has. */
  readOn(attempt: Attempt, ackedSeq: number): void;
  /** Hands the command back, for another agent that can continue it. */
  giveUp(attempt: Attempt): void;
  log: Logger;
}

type Given = ServerMessageOf<'take_over'>['attempts'][number];

export class TakeUps {
  readonly #options: TakeUpsOptions;

  constructor(options: TakeUpsOptions) {
    this.#options = options;
  }

  begin(given: Given): void {
    const { attempts, stepTypes, newOutput } = this.#options;
    if (attempts.has(given.lease)) return;
    const { collector, output: before, begunMsAgo } = given;
    const { step, epoch, leaseToken } = given.lease;
    const { toReattach } = stepTypes.get(given.lease.stepType) ?? {};
    const whole = given.lease.config;
    // It is checked below; here it must only be something that can be taken apart.
    const config = Object(whole) === whole ? (toReattach?.(whole) ?? whole) : whole;
    const lease = withoutValues(given.lease, config);
    const output = newOutput(given.lease, before);
    const attempt = new Attempt({ step, epoch, leaseToken, output, lease });
    attempt.state = 'running';
    attempt.toReattach = true;
    attempt.takingUp = true;
    attempt.collector = collector;
    attempt.survivingSinceMs = performance.now() - begunMsAgo;
    attempt.hasOutputFile = hasOutputFile(lease);
    attempts.add(attempt);
    void this.#takeUp(attempt, config, given);
  }

  async #takeUp(
    attempt: Attempt,
    config: unknown,
    { collector, output, begunMsAgo, lease: given }: Given,
  ): Promise<void> {
    const { journal, stepTypes, policy, grants, log, takesNothing, readOn, giveUp } = this.#options;
    const takenOver: TakenOver = { collector, output };
    const { step, epoch, leaseToken } = attempt;
    try {
      if (takesNothing()) throw new Error('this agent takes nothing new');
      if (!policy.maySurvive) throw new Error('the policy of this machine does not allow it');
      // Like a step that begins, except for the hours: what began within them is read to its end. Placeholders are still
      // in it, which only texts have.
      policy.checkStepType(given);
      const problem = stepTypes.get(given.stepType)?.configProblem(config);
      if (problem !== undefined) throw new Error(problem);
      policy.checkScript(config, given);
      policy.checkConfig(config, given);
      const lease = withoutValues(await grants.checkTakeOver(given), config);
      attempt.lease = lease;
      await journal.durable({
        is: 'starting',
        step,
        epoch,
        leaseToken,
        at: new Date(Date.now() - begunMsAgo).toISOString(),
        ...machineTimeBefore(begunMsAgo),
        survives: lease,
        takenOver,
      });
    } catch (error) {
      log.warn(
        { err: error, step, epoch },
        'this agent could not take over a command; it was handed back for another agent',
      );
      giveUp(attempt);
      return;
    }
    attempt.takingUp = false;
    if (attempt.forgotten) {
      // It was forgotten while its start was being written, so `settled` may be in the journal before the start: say it
      // again.
      journal.note({ is: 'settled', step, epoch });
      return;
    }
    log.info({ step, epoch }, 'took over a command that another agent began');
    readOn(attempt, takenOver.output.seq);
  }
}
