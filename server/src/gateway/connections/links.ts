// The agents that are connected to this server, longest connected first; one connection for each.
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

  /** Returns `undefined` also if the agent's connection is being closed. */
  open(agentId: number): AgentLink | undefined {
    const link = this.#byAgent.get(agentId);
    return link?.isOpen === true ? link : undefined;
  }

  /** Returns the links of a segment, or all, that can be sent messages and requests: resumed, and not being ended. */
  ready(segmentId?: number): AgentLink[] {
    return [...this].filter(
      (link) =>
        (segmentId === undefined || link.segmentId === segmentId) &&
        link.isReady &&
        link.isOpen &&
        !link.isEnding,
    );
  }

  /** Adds a link at the end, even if the agent's older connection hasn't been found dead yet; returns that one. */
  add(link: AgentLink): AgentLink | undefined {
    const older = this.#byAgent.get(link.agentId);
    this.#byAgent.delete(link.agentId);
    this.#byAgent.set(link.agentId, link);
    return older;
  }

  /** Removes a link, unless a newer one has taken its place. */
  remove(link: AgentLink): void {
    if (this.#byAgent.get(link.agentId) === link) this.#byAgent.delete(link.agentId);
  }
}
