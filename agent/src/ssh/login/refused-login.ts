// What waits for a host, and so logs in to it again and again, does so seldom where the login is refused.
import type { StepReason } from '@opsconductor/protocol';
import { SshError } from '../ssh-error.ts';

/**
 * Pauses after the first refusal, the second, and so on, in ms; the last one is repeated. An account is often locked
 * after three refusals within 15 minutes, so in any such time there are two.
 */
const refusedPausesMs = [60_000, 15 * 60_000];

/** Returns the pause after a refusal that came after this many others. */
export function pauseAfterRefusal(refusals: number, pausesMs: readonly number[] = refusedPausesMs): number {
  return pausesMs[Math.min(refusals, pausesMs.length - 1)] ?? 0;
}

/** sudo and su count wrong passwords as logins do. */
const refusals = new Set<StepReason>(['auth_failed', 'become_refused', 'become_password_missing']);

/** Whether a login was refused, by the host or by a jump host on the way to it, or becoming another user there. */
export function isRefusedLogin(error: unknown): boolean {
  return error instanceof SshError && (refusals.has(error.reason) || isRefusedByJumpHost(error));
}

/** Whether it was a jump host on the way that refused the login, not the target. */
export function isRefusedByJumpHost({ reason, cause }: SshError): boolean {
  return reason === 'jump_host_failed' && isRefusedLogin(cause);
}

/** How long after its pause a refusal is kept, in ms. */
const keptMs = 60 * 60_000;

/** Which logins were refused, and are not to be tried yet. */
export class RefusedLogins {
  readonly #refusals = new Map<string, { count: number; untilMs: number }>();

  has(login: string): boolean {
    return performance.now() < (this.#refusals.get(login)?.untilMs ?? 0);
  }

  add(login: string): void {
    // Others that waited for the same login are told of the same refusal.
    if (this.has(login)) return;
    for (const [other, { untilMs }] of this.#refusals)
      if (untilMs + keptMs < performance.now()) this.#refusals.delete(other);
    const count = this.#refusals.get(login)?.count ?? 0;
    this.#refusals.set(login, { count: count + 1, untilMs: performance.now() + pauseAfterRefusal(count) });
  }

  forget(login: string): void {
    this.#refusals.delete(login);
  }
}
