// How sessions of agents end: what is recorded when a connection closes, and which connections this server closes because
// their session is over.
import { closeCodes } from '@opsconductor/protocol';
import type { Log } from '../../log.ts';
import { noteClose, type ShutOut } from '../../store/agents/agent-lifecycle.ts';
import { closeSession } from '../../store/agents/agent-sessions.ts';
import type { Sql } from '../../store/database/connection.ts';
import type { HostScans } from '../host-scans.ts';
import type { AgentLink } from '../link/agent-link.ts';
import type { Heartbeats } from './heartbeats.ts';
import type { Links } from './links.ts';
import { shutOut, shutOutOfLinks } from './shut-outs.ts';

const silenceCheckMs = 1_000;

export interface SessionEndsDeps {
  sql: Sql;
  log: Log;
  links: Links;
  /** An agent that is silent for longer is cut off. */
  leaseTtlMs: number;
  heartbeats: Pick<Heartbeats, 'closed'>;
  scans: Pick<HostScans, 'closed'>;
}

export class SessionEnds {
  readonly #deps: SessionEndsDeps;
  readonly #closing = new Set<Promise<unknown>>();
  #silenceTimer: NodeJS.Timeout | undefined;

  constructor(deps: SessionEndsDeps) {
    this.#deps = deps;
  }

  /** Begins to look for silent agents. */
  start(): void {
    this.#silenceTimer = setInterval(() => this.#endSilent(), silenceCheckMs);
  }

  stop(): void {
    clearInterval(this.#silenceTimer);
  }

  /** Resolves when the ends of all connections that are closed are recorded. */
  async recorded(): Promise<void> {
    await Promise.allSettled(this.#closing);
  }

  /** Called when a connection is closed, whoever closed it. */
  closed(link: AgentLink, end: { code: number; reason: string }): void {
    const { sql, log, links, heartbeats, scans } = this.#deps;
    links.remove(link);
    heartbeats.closed(link);
    log.info(
      { agent: link.name, session: link.sessionNumber, closeCode: end.code, reason: end.reason },
      'agent disconnected',
    );
    const clean = link.isDraining && link.slotsTaken === 0;
    const closing = Promise.all([
      closeSession(sql, link.agentId, link.sessionNumber, clean),
      noteClose(sql, { agentId: link.agentId, ...end, address: link.address }),
    ]).catch((error) =>
      log.warn(
        { err: error, agent: link.name, session: link.sessionNumber },
        'the end of a session of an agent could not be recorded',
      ),
    );
    this.#whileClosing(closing);
    const giving = scans
      .closed(link)
      .catch((error) =>
        log.warn(
          { err: error, agent: link.name },
          'targets that a disconnected agent was to scan could not be taken back; other agents get them once they are overdue',
        ),
      );
    this.#whileClosing(giving);
  }

  /** Ends the agent's connection here if its session is older than this one. */
  endOlder(agentId: number, sessionNumber: number, how: ShutOut | 'quarantined' | undefined): void {
    const link = this.#deps.links.get(agentId);
    if (link === undefined || link.sessionNumber >= sessionNumber) return;
    if (how === undefined) link.close(closeCodes.replaced, 'a newer session of this agent is connected');
    else shutOut(link, how);
  }

  /** Ends sessions that the database doesn't renew. */
  async endOver(links: readonly AgentLink[]): Promise<void> {
    const out = await shutOutOfLinks(this.#deps, links);
    for (const link of links) if (!out.has(link)) link.close(closeCodes.replaced, 'this session is over');
  }

  #endSilent(): void {
    for (const link of this.#deps.links) {
      if (link.silentMs <= this.#deps.leaseTtlMs) continue;
      link.close(closeCodes.silent, 'no heartbeat');
      link.terminate();
    }
  }

  /** Ends the sessions of agents that were shut out, in case a notice of it was missed. */
  async endShutOut(): Promise<void> {
    await shutOutOfLinks(this.#deps, [...this.#deps.links]);
  }

  #whileClosing(work: Promise<unknown>): void {
    this.#closing.add(work);
    void work.finally(() => this.#closing.delete(work));
  }
}
