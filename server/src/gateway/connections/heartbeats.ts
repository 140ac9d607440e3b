// Heartbeats. Those of many agents renew their sessions in one statement, and what an agent says that it holds is
// compared with what it was leased.
import { type AgentMessageOf, limits, visibleLine } from '@opsconductor/protocol';
import type { Log } from '../../log.ts';
import type { UnbegunLease } from '../../runs/leases/return-leases.ts';
import {
  awaitedAttempts,
  type HeartbeatRow,
  renewSessions,
  runningStepsOfAgent,
} from '../../store/agents/agent-sessions.ts';
import type { Sql } from '../../store/database/connection.ts';
import { isRefused } from '../../store/database/refused-statement.ts';
import type { AgentLink } from '../link/agent-link.ts';
import { firstOfSegments, reconnectWithin } from './reconnect-within.ts';

const batchMs = 50;

export interface HeartbeatsDeps {
  sql: Sql;
  log: Log;
  leaseTtlMs: number;
  /** Agents of this server that should reconnect if it goes away, longest connected first. */
  connected(): readonly AgentLink[];
  /** Handles sessions that the database doesn't renew: their agents were shut out, or have a newer session. */
  onOver(links: readonly AgentLink[]): Promise<void>;
}

export class Heartbeats {
  readonly #deps: HeartbeatsDeps;
  #beats = new Map<AgentLink, { row: HeartbeatRow; sequence: number }>();
  #timer: NodeJS.Timeout | undefined;

  constructor(deps: HeartbeatsDeps) {
    this.#deps = deps;
  }

  heard(link: AgentLink, message: AgentMessageOf<'heartbeat'>): void {
    this.#beats.set(link, {
      sequence: message.sequence,
      row: {
        agentId: link.agentId,
        sessionNumber: link.sessionNumber,
        rssBytes: message.rssBytes ?? null,
        spoolBytes: message.spoolBytes ?? null,
        loadAverage: message.loadAverage ?? null,
        busyReason: message.busy === undefined ? null : visibleLine(message.busy),
      },
    });
    this.#timer ??= setTimeout(() => void this.#flush(), batchMs);
    const missed = link.missedAttempts(message.held);
    if (missed.length > 0) void this.#reconcile(link, missed);
  }

  closed(link: AgentLink): void {
    this.#beats.delete(link);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  /**
   * Handles attempts that the agent doesn't list. Their leases may still be on the way and be begun when they arrive;
   * no amount of time proves that they won't. So they aren't taken back here, and what is reported of them meanwhile
   * counts. Instead the connection is ended, with everything that is on the way, and the next resume tells.
   */
  async #reconcile(link: AgentLink, missed: readonly Omit<UnbegunLease, 'agentId'>[]): Promise<void> {
    const { sql, log } = this.#deps;
    try {
      const live = new Set(
        (await runningStepsOfAgent(sql, link.agentId)).map(({ leaseToken }) => leaseToken),
      );
      // Of a step that was given up meanwhile, the agent may yet report: its lease may be on the way, too.
      const others = missed.filter(({ leaseToken }) => !live.has(leaseToken));
      for (const attempt of await awaitedAttempts(sql, link.agentId, others)) live.add(attempt.leaseToken);
      const steps = missed.filter(({ leaseToken }) => live.has(leaseToken)).map(({ stepId }) => stepId);
      for (const attempt of missed) if (!live.has(attempt.leaseToken)) link.forget(attempt);
      if (steps.length === 0) return;
      log.warn(
        { agent: link.name, steps },
        'an agent does not hold steps that were leased to it; its connection is ended, so that it reconnects and reports what it holds',
      );
    } catch (error) {
      log.error(
        { err: error, agent: link.name },
        'the leases of an agent could not be looked up; its connection is ended, so that it reconnects',
      );
    }
    link.terminate();
  }

  /** Renews all sessions at once or, if the database refuses that, each: one that it refuses costs no others theirs. */
  async #renew(rows: readonly HeartbeatRow[]) {
    const { sql, log, leaseTtlMs } = this.#deps;
    const renewed = new Map<number, number>();
    const refused = new Set<number>();
    try {
      return { renewed: await renewSessions(sql, rows, leaseTtlMs), refused };
    } catch (error) {
      if (!isRefused(error)) throw error;
      for (const row of rows) {
        try {
          const [one] = await renewSessions(sql, [row], leaseTtlMs);
          if (one !== undefined) renewed.set(...one);
        } catch (problem) {
          if (!isRefused(problem)) throw problem;
          refused.add(row.agentId);
        }
      }
      log.error(
        { err: error, agents: [...refused] },
        'the database refuses the heartbeats of these agents; their leases expire unless a later one is stored in time',
      );
    }
    return { renewed, refused };
  }

  async #flush(): Promise<void> {
    const { log } = this.#deps;
    const beats = this.#beats;
    this.#beats = new Map();
    this.#timer = undefined;
    try {
      const { renewed, refused } = await this.#renew([...beats.values()].map(({ row }) => row));
      const connected = this.#deps.connected();
      // Only agents that can be given work.
      const first = firstOfSegments(connected.filter((link) => !link.isDraining));
      const over: AgentLink[] = [];
      for (const [link, { sequence }] of beats) {
        const unknownAfterS = renewed.get(link.agentId);
        if (unknownAfterS !== undefined) {
          const comeOverMs = first.get(link) ?? connected.length * limits.reconnectPerAgentMs;
          const reconnectWithinMs = reconnectWithin(comeOverMs, unknownAfterS);
          link.send({ type: 'heartbeat_ack', sequence, reconnectWithinMs });
        } else if (!link.isEnding && !refused.has(link.agentId)) over.push(link);
      }
      if (over.length > 0) await this.#deps.onOver(over);
    } catch (error) {
      // No acknowledgement: the agents' leases run towards their deadline, as they must if nobody can renew them.
      log.warn(
        { err: error },
        'heartbeats of agents could not be stored; their leases expire unless a later one is stored in time',
      );
    }
  }
}
