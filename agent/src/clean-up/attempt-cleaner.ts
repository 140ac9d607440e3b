// Cleans up after attempts that the server names, several at a time, and reports each as soon as it is done. The server
// asks again for those that were not reported when a connection ended.
import type { AgentMessage, AgentMessageOf, ServerMessageOf } from '@opsconductor/protocol';
import type { OpenForTarget } from '../execution/secrets/credential-opener.ts';
import type { Logger } from '../log.ts';
import { Masking } from '../masking/masking.ts';
import { PatternSet } from '../masking/pattern-set.ts';
import type { PolicyGuard } from '../policy/policy-guard.ts';
import { becomeOf } from '../ssh/become/become.ts';
import { isRefusedLogin, RefusedLogins } from '../ssh/login/refused-login.ts';
import { connectionKey } from '../ssh/pool/connection-key.ts';
import type { SshPool } from '../ssh/pool/pool.ts';
import { requestFor } from '../ssh/pool/request-for.ts';
import { type CleanUpTimes, cleanUpAttempt } from './clean-up-attempt.ts';

type Asked = ServerMessageOf<'clean_up'>['attempts'][number] & { requestId: string };
type Result = AgentMessageOf<'cleaned_up'>['results'][number];

export interface AttemptCleanerOptions extends Partial<CleanUpTimes> {
  installationId: string;
  pool: SshPool;
  open: OpenForTarget;
  policy: Pick<PolicyGuard, 'checkBecome'>;
  /** Stops the attempt if it still runs on this agent; it then reports its end itself. */
  stopOwn(attempt: { step: number; epoch: number }): boolean;
  log: Logger;
  atATime?: number;
  /** How long a target may be out of reach, in ms. */
  giveUpAfterMs?: number;
}

const defaults = { atATime: 8, graceMs: 10_000, killMs: 5_000, giveUpAfterMs: 10_000 };

export class AttemptCleaner {
  readonly #options: AttemptCleanerOptions & typeof defaults;
  readonly #waiting: Asked[] = [];
  readonly #running = new Set<string>();
  /** The server asks for each attempt by itself: many asks may be about the same login. */
  readonly #refused = new RefusedLogins();
  #send: ((message: AgentMessage) => void) | undefined;

  constructor(options: AttemptCleanerOptions) {
    this.#options = { ...defaults, ...options };
  }

  /** A session began: results are sent there. */
  began(send: (message: AgentMessage) => void): void {
    this.#send = send;
  }

  /** The session is over: drops what has not begun, as the server will ask for it again. */
  ended(): void {
    this.#send = undefined;
    this.#waiting.length = 0;
  }

  onCleanUp({ requestId, attempts }: ServerMessageOf<'clean_up'>): void {
    for (const attempt of attempts) {
      const isAsked = this.#waiting.some((each) => keyOf(each) === keyOf(attempt));
      if (!isAsked && !this.#running.has(keyOf(attempt))) this.#waiting.push({ ...attempt, requestId });
    }
    this.#next();
  }

  #next(): void {
    while (this.#running.size < this.#options.atATime) {
      const asked = this.#waiting.shift();
      if (asked === undefined) return;
      if (this.#options.stopOwn(asked)) continue;
      this.#running.add(keyOf(asked));
      void this.#cleanUp(asked).then((found) => {
        this.#running.delete(keyOf(asked));
        const { requestId, step, epoch } = asked;
        this.#send?.({ type: 'cleaned_up', requestId, results: [{ step, epoch, ...found }] });
        this.#next();
      });
    }
  }

  /** Never rejects: a target that can't be asked is reported as unreachable, and the server asks again later. */
  async #cleanUp({
    step,
    epoch,
    target,
    credential,
    become,
    uncollected,
  }: Asked): Promise<Omit<Result, 'step' | 'epoch'>> {
    const { installationId, pool, open, policy, log, giveUpAfterMs } = this.#options;
    // Only the agent that made a WinRM shell knows of it; the host ends an idle shell with everything in it.
    if (target.winrm !== undefined) return { found: 'unreachable' };
    let masking = Masking.of(new PatternSet([]));
    let login: string | undefined;
    try {
      if (become !== undefined) policy.checkBecome(become, target);
      const usable = await open(credential, target);
      masking = Masking.of(usable.secrets);
      const request = requestFor(usable);
      const as = becomeOf(become, usable.credential);
      login = `${as?.method} ${as?.user} ${connectionKey(usable.target, usable.credential)}`;
      if (this.#refused.has(login)) return { found: 'unreachable' };
      const reach = { pool, request, become: as, scriptTimeoutMs: giveUpAfterMs, giveUpAfterMs };
      const found = await cleanUpAttempt(reach, `${installationId}.${step}.${epoch}`, {
        ...this.#options,
        keepsOutput: uncollected === true,
      });
      this.#refused.forget(login);
      return found;
    } catch (error) {
      if (login !== undefined && isRefusedLogin(error)) this.#refused.add(login);
      log.warn(
        { err: masking.error(error), step, epoch, target: target.name },
        'clean-up failed: processes of this attempt may still be running on the target; the server asks for it again later',
      );
      return { found: 'unreachable' };
    }
  }
}

function keyOf({ step, epoch }: { step: number; epoch: number }): string {
  return `${step}.${epoch}`;
}
