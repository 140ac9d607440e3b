// Records whether targets were reached, as the ends of attempts show. It is collected and written separately from
// settling attempts, which must not wait for it. If a server stops before writing, that is lost, and the next attempt
// shows it again.
import type { StepOutcome } from '@opsconductor/protocol';
import type { Log } from '../log.ts';
import type { Sql } from '../store/database/connection.ts';
import { withoutRefused } from '../store/database/refused-statement.ts';
import { type Contact, type StepContact, writeStepContacts } from '../store/targets/target-contacts.ts';

const gatherMs = 1_000;
const maxGathered = 10_000;

const failures: ReadonlySet<string> = new Set([
  'unreachable',
  'name_not_found',
  'connection_refused',
  'connect_timed_out',
  'no_common_algorithm',
  'auth_failed',
  'host_key_unknown',
  'host_key_mismatch',
  'certificate_refused',
  'not_authorized',
  'jump_host_failed',
]);

/** Returns what a reason says about reaching a target and logging in; undefined if it says nothing about that. */
export function contactFailure(reason: string | null | undefined): Contact | undefined {
  return reason !== null && reason !== undefined && failures.has(reason) ? { ok: false, reason } : undefined;
}

function contactOf({
  ssh,
  reason,
  exitCode,
  executionTimeMs,
}: StepOutcome): Omit<StepContact, 'stepId'> | undefined {
  const reached = { ok: true, reason: null };
  if (ssh !== undefined) return { ...reached, showedKey: !ssh.reused };
  const failure = contactFailure(reason);
  if (failure !== undefined) return { ...failure, showedKey: false };
  // No outcome reports a WinRM connection, but what the host did shows that there was one.
  const hasBegun = exitCode !== undefined || executionTimeMs !== undefined;
  return hasBegun ? { ...reached, showedKey: false, ifWinrm: true } : undefined;
}

export class ContactNotes {
  readonly #sql: Sql;
  readonly #log: Pick<Log, 'warn'>;
  #gathered: StepContact[] = [];
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> = Promise.resolve();

  constructor(deps: { sql: Sql; log: Pick<Log, 'warn'> }) {
    this.#sql = deps.sql;
    this.#log = deps.log;
  }

  /** Notes the end of a settled attempt. */
  note(stepId: number, outcome: StepOutcome): void {
    const contact = contactOf(outcome);
    if (contact === undefined || this.#gathered.length >= maxGathered) return;
    this.#gathered.push({ stepId, ...contact });
    this.#timer ??= setTimeout(() => this.flush(), gatherMs).unref();
  }

  /** Writes what was collected. Never rejects: what could not be written is logged. */
  flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const gathered = this.#gathered.splice(0);
    if (gathered.length > 0) {
      this.#writing = this.#writing
        .then(() => this.#write(gathered))
        .catch((error: unknown) =>
          this.#log.warn(
            { err: error },
            'the health of targets could not be updated from the steps that ended',
          ),
        );
    }
    return this.#writing;
  }

  async #write(gathered: readonly StepContact[]): Promise<void> {
    const refused = await withoutRefused(gathered, (contacts) => writeStepContacts(this.#sql, contacts));
    if (refused.length > 0)
      this.#log.warn(
        { err: refused[0]?.error, steps: refused.map(({ item }) => item.stepId) },
        'the database refuses to update the health of the targets of these steps',
      );
  }
}
