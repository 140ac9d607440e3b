// The work on an attempt in its slot: its step is carried out, and the server is told how it goes until it ends.
import type { Lease, TransferProgress } from '@opsconductor/protocol';
import type { Logger } from 'pino';
import type { ServerAbilities } from '../../connection/server-abilities.ts';
import type { ContentLink } from '../../contents/content-link.ts';
import type { PolicyGuard } from '../../policy/policy-guard.ts';
import type { Session } from '../session.ts';
import { type ExecuteStepOptions, executeStep } from '../step/execute-step.ts';
import type { Attempt } from './attempt.ts';
import type { AttemptEnds } from './attempt-ends.ts';
import type { AttemptStarts } from './attempt-starts.ts';
import type { Followers } from './followers.ts';

export interface AttemptWorkOptions
  extends Pick<ExecuteStepOptions, 'installationId' | 'stepTypes' | 'grants' | 'openCredential' | 'secrets'> {
  policy: ExecuteStepOptions['policy'] & Pick<PolicyGuard, 'maySurvive'>;
  contents: Pick<ContentLink, 'ask'>;
  starts: Pick<AttemptStarts, 'begin'>;
  ends: Pick<AttemptEnds, 'ended'>;
  followers: Pick<Followers, 'of'>;
  /** Whether the agent was stopped: from then on nothing is recorded. */
  isStopped(): boolean;
  session(): Session | undefined;
  /** Abilities of the session's server, or of the last one's. */
  server(): ServerAbilities | undefined;
  log: Logger;
}

export class AttemptWork {
  readonly #options: AttemptWorkOptions;

  constructor(options: AttemptWorkOptions) {
    this.#options = options;
  }

  /** Resolves when the attempt has ended. Never rejects: an unexpected error is logged. */
  async run(attempt: Attempt): Promise<void> {
    const { lease } = attempt;
    if (lease === undefined) return;
    try {
      await this.#carryOut(attempt, lease);
    } catch (error) {
      this.#options.log.error(
        { err: error, step: attempt.step, epoch: attempt.epoch },
        'an unexpected error ended the work on this attempt without an outcome; check its target, and report this bug',
      );
    }
  }

  /** Tells the server whether the attempt's target answers, if that has been in question. */
  tellSilence({ name, silence, forgotten }: Attempt): void {
    const session = this.#options.session();
    if (silence === undefined || forgotten || session?.server.can('target_silence') !== true) return;
    const now = performance.now();
    const told =
      silence === 'answers'
        ? {}
        : {
            silentMs: Math.round(Math.max(0, now - silence.heardAtMs)),
            leftMs: Math.round(Math.max(0, silence.endsAtMs - now)),
          };
    session.send({ type: 'target_silence', ...name, ...told });
  }

  async #carryOut(attempt: Attempt, lease: Lease): Promise<void> {
    const { installationId, stepTypes, policy, grants, openCredential, secrets } = this.#options;
    const { contents, starts, ends, isStopped, server, log } = this.#options;
    const execution = await executeStep({
      attempt,
      lease,
      stepTypes,
      installationId,
      maySurvive: policy.maySurvive && server()?.can('survive_agent_restart') === true,
      policy,
      grants,
      openCredential,
      secrets,
      onSecrets: (masking) => attempt.output.maskSecrets(masking),
      onProgress: (transfer) => this.#tellProgress(attempt, transfer),
      onTargetSilence: (silence) => {
        attempt.silence = silence ?? 'answers';
        this.tellSilence(attempt);
      },
      askServer: (request) => contents.ask(attempt.name, request, attempt.signal),
      followedBy: (most) => this.#markersAfter(attempt, most),
      onUnexpected: (stack) =>
        log.error(
          { err: { stack }, step: attempt.step, epoch: attempt.epoch },
          'the work on this attempt failed in an unexpected way; report this bug',
        ),
      begin: (checked, how) => starts.begin(attempt, { lease, checked }, how),
    });
    // What was prepared for it is still there if it was skipped or refused before its type was asked to execute it.
    stepTypes.get(lease.stepType)?.forgo?.(attempt.marker(installationId));
    if (!isStopped()) await ends.ended(attempt, execution);
  }

  /** The markers of what follows, as long as it is of the same type. */
  #markersAfter(attempt: Attempt, most: number): string[] {
    const { followers, installationId } = this.#options;
    const markers: string[] = [];
    let next = followers.of(attempt);
    while (next !== undefined && markers.length < most && next.lease?.stepType === attempt.lease?.stepType) {
      markers.push(next.marker(installationId));
      next = followers.of(next);
    }
    return markers;
  }

  /** Nothing depends on progress, so it is dropped when there is no session. */
  #tellProgress({ step, epoch, forgotten }: Attempt, transfer: TransferProgress): void {
    const session = this.#options.session();
    if (forgotten || session?.server.can('transfers') !== true) return;
    session.send({ type: 'progress', step, epoch, transfer });
  }
}
