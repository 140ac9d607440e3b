// Tells agents again to stop attempts that nobody waits for any more. An agent that missed a cancel, because it was
// lost or came before the attempt had begun, would otherwise go on until the step's timeout.
import type { AgentMessageOf } from '@opsconductor/protocol';
import type { Log } from '../../log.ts';
import type { Sql } from '../../store/database/connection.ts';
import { type HeldAttempts, heldInVain } from '../../store/queue/attempts/step-attempts.ts';
import { Batches } from '../batches.ts';
import type { AgentLink } from '../link/agent-link.ts';

/** An agent is checked once in this many of its heartbeats. */
const heartbeatsApart = 3;
const maxAgentsTogether = 64;

export class StopReminders {
  readonly #log: Log;
  /** Agents that are being checked: one check at a time for each, however often it sends heartbeats. */
  readonly #lookedAt = new Set<AgentLink>();
  readonly #looking: Batches<HeldAttempts, { step: number; epoch: number }[]>;

  constructor({ sql, log }: { sql: Sql; log: Log }) {
    this.#log = log;
    this.#looking = new Batches({
      most: maxAgentsTogether,
      atATime: 1,
      work: (agents) => heldInVain(sql, agents),
    });
  }

  heard(link: AgentLink, { sequence, held }: Pick<AgentMessageOf<'heartbeat'>, 'sequence' | 'held'>): void {
    if (held.length === 0 || sequence % heartbeatsApart !== 0 || this.#lookedAt.has(link)) return;
    this.#lookedAt.add(link);
    const looking = this.#looking.do({ agentId: link.agentId, held }).then(
      (attempts) => {
        if (!link.isReady) return;
        for (const attempt of attempts) link.send({ type: 'cancel', ...attempt });
      },
      (error) =>
        this.#log.warn(
          { err: error, agent: link.name },
          'could not check whether an agent holds steps that it should stop; this is retried at a later heartbeat',
        ),
    );
    void looking.finally(() => this.#lookedAt.delete(link));
  }
}
