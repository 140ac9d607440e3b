// Tests whether a target can be reached and logged in to, and what works there then, outside any run. Reports the host
// keys that targets presented.
import type {
  AgentMessage,
  Lease,
  LeaseCredential,
  LeaseTarget,
  ServerMessageOf,
} from '@opsconductor/protocol';
import { cutText } from '../cut-text.ts';
import {
  type CredentialOpener,
  NoSegmentKey,
  type UsableCredential,
} from '../execution/secrets/credential-opener.ts';
import type { Logger } from '../log.ts';
import { Masking } from '../masking/masking.ts';
import { PatternSet } from '../masking/pattern-set.ts';
import type { PolicyGuard } from '../policy/policy-guard.ts';
import { SshError } from '../ssh/ssh-error.ts';
import { testConnection } from '../ssh/test-connection.ts';
import type { WinrmPolicy } from '../steps/winrm/winrm-connection-options.ts';
import { checkLogin } from './check-login.ts';
import { type TestResult, testWinrm } from './test-winrm.ts';

const hostKeyTimeoutMs = 30_000;

type Opener = Pick<CredentialOpener, 'open' | 'openWay' | 'refused'>;
type WhereToGo = Pick<PolicyGuard, 'checkTarget' | 'checkAddresses'>;

export class TargetTester {
  readonly #opener: Opener;
  readonly #winrmPolicy: WinrmPolicy;
  readonly #policy: WhereToGo;
  readonly #log: Pick<Logger, 'error'>;

  constructor(options: {
    opener: Opener;
    winrmPolicy: WinrmPolicy;
    policy: WhereToGo;
    log: Pick<Logger, 'error'>;
  }) {
    this.#opener = options.opener;
    this.#winrmPolicy = options.winrmPolicy;
    this.#policy = options.policy;
    this.#log = options.log;
  }

  /** Never rejects. */
  async test(
    { requestId, target, credential, timeoutMs }: ServerMessageOf<'test_target'>,
    reply: (message: AgentMessage) => void,
  ): Promise<void> {
    const result = await this.#test(target, credential, timeoutMs);
    if (result.reason === 'auth_failed' && credential !== undefined)
      this.#opener.refused({ credential, target });
    reply({ type: 'target_tested', requestId, ...result });
  }

  /** Connects again to learn the key that a step's target presented, and reports it. Never rejects. */
  async reportHostKey(lease: Lease, reply: (message: AgentMessage) => void): Promise<void> {
    const { offeredHostKey } = await this.#test(lease.target, lease.credential, hostKeyTimeoutMs);
    if (offeredHostKey === undefined) return;
    reply({ type: 'host_key_seen', targetId: lease.target.id, hostKey: offeredHostKey });
  }

  /** What a host says may hold what it was just given. */
  async #test(...given: [LeaseTarget, LeaseCredential | undefined, number]): Promise<TestResult> {
    const masking = new LateMasking();
    const result = await this.#try(given, masking);
    const { message, advice, serverVersion } = result;
    // A mask may be longer than what it stands for.
    const masked = (text: string, maxLength: number) => cutText(masking.text(text), maxLength);
    return {
      ...result,
      ...(message === undefined ? {} : { message: masked(message, 2_000) }),
      ...(advice === undefined ? {} : { advice: masked(advice, 2_000) }),
      ...(serverVersion === undefined ? {} : { serverVersion: masked(serverVersion, 255) }),
    };
  }

  async #try(
    [target, credential, timeoutMs]: [LeaseTarget, LeaseCredential | undefined, number],
    masking: LateMasking,
  ): Promise<TestResult> {
    const signal = AbortSignal.timeout(timeoutMs);
    const [shellLimit, sftpLimit] = [shellShare, sftpShare].map((share) =>
      AbortSignal.timeout(Math.round(timeoutMs * share)),
    ) as [AbortSignal, AbortSignal];
    try {
      if (target.winrm !== undefined) {
        if (credential === undefined) return noWinrmCredential;
        const usable = await this.#opener.open(credential, target);
        masking.add(usable.secrets);
        return await testWinrm(usable, this.#winrmPolicy, signal);
      }
      const opened = credential === undefined ? undefined : await this.#opener.open(credential, target);
      const { target: reached, checkAddresses, secrets } = opened ?? (await this.#nobody(target));
      masking.add(secrets);
      const tested = await testConnection(reached, opened?.credential, {
        checkAddresses,
        signal,
        // Ends before the test does, because it knows more of what did not answer.
        authTimeoutMs: Math.round(timeoutMs * handshakeShare),
        check: (connection) =>
          checkLogin(connection, {
            host: reached.host,
            user: opened?.credential.user ?? '',
            shellLimit,
            sftpLimit,
            masked: (text) => masking.text(text),
          }),
      });
      if (!tested.ok) return failure(tested.error, credential !== undefined);
      const { serverVersion, latencyMs, found } = tested;
      return {
        ok: true,
        serverVersion: cutText(serverVersion, 255),
        latencyMs,
        ...(found === undefined ? {} : { message: cutText(found, 2_000) }),
      };
    } catch (error) {
      if (error instanceof SshError) return failure(error, true);
      const problem = describe(error, signal, timeoutMs);
      // The answer refers people to the log.
      if (problem.reason === 'internal')
        this.#log.error(
          { err: masking.error(error), target: target.id },
          'the test of a target failed in an unexpected way; report this bug',
        );
      return { ok: false, ...problem };
    }
  }

  /** Tests only the way to the host: its key is compared before anybody would log in, and nobody does. */
  async #nobody(
    target: LeaseTarget,
  ): Promise<Pick<UsableCredential, 'target' | 'checkAddresses' | 'secrets'>> {
    this.#policy.checkTarget(target);
    const way = await this.#opener.openWay(target);
    return {
      target: way.target,
      secrets: new PatternSet(way.patterns),
      checkAddresses: (addresses) => this.#policy.checkAddresses(target, addresses),
    };
  }
}

/** Masks what is known once the credentials are open; nothing before. */
class LateMasking {
  #masking = Masking.of(new PatternSet([]));

  add(secrets: PatternSet): void {
    this.#masking = Masking.of(secrets);
  }

  text(text: string): string {
    return this.#masking.text(text);
  }

  error(error: unknown): Error {
    return this.#masking.error(error);
  }
}

/** The parts of a test's time by which the handshake with the login, the shell, and SFTP must be done. */
const handshakeShare = 0.8;
const shellShare = 0.9;
const sftpShare = 0.97;

/** With WinRM the login comes before anything else. */
const noWinrmCredential: TestResult = {
  ok: false,
  reason: 'credential_unusable',
  message: 'There is no credential, and a WinRM host reveals nothing before a login.',
  advice: 'Choose a credential of this segment for the target, a group of it, or the segment.',
};

function failure(error: SshError, hasCredential: boolean): TestResult {
  // Without a credential, being asked for one is as far as a test can get.
  if (!hasCredential && error.reason === 'auth_failed') return { ok: true };
  const { reason, message, advice, offeredHostKey } = error;
  return {
    ok: false,
    reason,
    message: cutText(message, 2_000),
    advice: cutText(advice, 2_000),
    ...(offeredHostKey === undefined ? {} : { offeredHostKey: offeredHostKey.line }),
  };
}

function describe(
  error: unknown,
  signal: AbortSignal,
  timeoutMs: number,
): Pick<TestResult, 'reason' | 'message' | 'advice'> {
  if (signal.aborted) {
    return {
      reason: 'timed_out',
      message: `The target did not answer within ${timeoutMs} ms.`,
      advice: 'Check that a firewall lets the agent in, and that the target is not overloaded.',
    };
  }
  if (error instanceof NoSegmentKey) {
    return {
      reason: 'credential_unusable',
      message: `${error.message}.`,
      advice: error.advice,
    };
  }
  const why = error instanceof Error ? error.message : String(error);
  return {
    reason: 'internal',
    message: cutText(`The test failed in an unexpected way: ${why}`, 2_000),
    advice: "The agent's log has the details.",
  };
}
