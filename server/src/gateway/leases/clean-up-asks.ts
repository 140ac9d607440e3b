// Asks the agents connected here to clean up after attempts that nobody holds any more: each agent when it connects,
// and all of them in rounds. The database says which attempts are due.
import type { AgentMessageOf, ServerMessageOf } from '@opsconductor/protocol';
import type { Log } from '../../log.ts';
import type { CleanUpRequests } from '../../runs/ends/clean-up-requests.ts';
import type { Sql } from '../../store/database/connection.ts';
import { agentsForDueCleanUps } from '../../store/queue/attempts/clean-ups.ts';
import { canLookFor } from '../connections/agent-too-old.ts';
import type { AgentLink } from '../link/agent-link.ts';

const defaultRoundMs = 5_000;

export interface CleanUpAsksDeps {
  sql: Sql;
  requests: Pick<CleanUpRequests, 'requestFor' | 'answered'> | undefined;
  /** Returns the agents that are connected here. */
  links(): Iterable<AgentLink>;
  roundMs: number | undefined;
  log: Log;
}

export class CleanUpAsks {
  readonly #deps: CleanUpAsksDeps;
  #timer: NodeJS.Timeout | undefined;
  #asking: Promise<void> | undefined;
  /** Decides which agent of a segment is asked first. */
  #turn = 0;

  constructor(deps: CleanUpAsksDeps) {
    this.#deps = deps;
  }

  start(): void {
    this.#timer = setInterval(() => void this.ask(), this.#deps.roundMs ?? defaultRoundMs);
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#asking;
  }

  /** One query finds the agents for which anything is due; then these are asked, in each segment in turn. */
  async ask(): Promise<void> {
    this.#asking ??= this.#askInTurn()
      .catch((error) =>
        this.#deps.log.warn(
          { err: error },
          'agents could not be asked to clean up after cut-off attempts; this is retried every five seconds',
        ),
      )
      .finally(() => {
        this.#asking = undefined;
      });
    await this.#asking;
  }

  async answered(link: AgentLink, message: AgentMessageOf<'cleaned_up'>): Promise<void> {
    await this.#deps.requests?.answered(link.agentId, message);
  }

  async #askInTurn(): Promise<void> {
    const { sql, requests } = this.#deps;
    const able = [...this.#deps.links()].filter((link) => link.isReady && link.can('clean_up'));
    if (requests === undefined || able.length === 0) return;
    const due = await agentsForDueCleanUps(sql, able);
    const links = able.filter(({ agentId }) => due.has(agentId));
    for (const segmentId of new Set(links.map((link) => link.segmentId))) {
      const inTurn = links.filter((link) => link.segmentId === segmentId);
      this.#turn += 1;
      const first = this.#turn % inTurn.length;
      for (const link of [...inTurn.slice(first), ...inTurn.slice(0, first)]) {
        const request = await requests.requestFor(link);
        // The agents before have taken everything that was due; if something is left, the next round finds it.
        if (request === undefined) break;
        await this.#ask(link, request);
      }
    }
  }

  /**
   * An agent of an earlier version would look for some attempts in the wrong way: for those, it answers `unreachable`.
   */
  async #ask(link: AgentLink, request: ServerMessageOf<'clean_up'>): Promise<void> {
    const { requestId } = request;
    const attempts = request.attempts.filter((attempt) => canLookFor(link, attempt));
    const others = request.attempts.filter((attempt) => !canLookFor(link, attempt));
    if (attempts.length > 0) link.send({ ...request, attempts });
    if (others.length === 0) return;
    const results = others.map(({ step, epoch }) => ({ step, epoch, found: 'unreachable' as const }));
    await this.answered(link, { type: 'cleaned_up', requestId, results });
  }
}
