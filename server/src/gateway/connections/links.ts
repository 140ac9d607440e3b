// The agents that are connected to this server, longest connected first; one connection of each.
import type { AgentLink } from '../link/agent-link.ts';

export class Links implements Iterable<AgentLink> {
  readonly #byAgent = new Map<number, AgentLink>();

  [Symbol.iterator](): Iterator<AgentLink> {
    return this.#byAgent.values();
  }

  get size(): number {
    return this.#byAgent.size;
  }

  get(agentId: number): AgentLink | undefined {
    return this.#byAgent.get(agentId);
  }

  /** Undefined also where its connection is being ended. */
  open(agentId: number): AgentLink | undefined {
    const link = this.#byAgent.get(agentId);
    return link?.isOpen === true ? link : undefined;
  }

  /** Those of a segment, or of all, that can be told and asked something: resumed, and not being ended. */
  ready(segmentId?: number): AgentLink[] {
    return [...this].filter(
      (link) =>
        (segmentId === undefined || link.segmentId === segmentId) &&
        link.isReady &&
        link.isOpen &&
        !link.isEnding,
    );
  }

  /** Puts it behind all others, also where its older connection has not been missed yet; returns that one. */
  add(link: AgentLink): AgentLink | undefined {
    const older = this.#byAgent.get(link.agentId);
    this.#byAgent.delete(link.agentId);
    this.#byAgent.set(link.agentId, link);
    return older;
  }

  /** Nothing where a newer one has its place. */
  remove(link: AgentLink): void {
    if (this.#byAgent.get(link.agentId) === link) this.#byAgent.delete(link.agentId);
  }
}
