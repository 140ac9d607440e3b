// When agents are given the newest checkpoint of the audit log. They write it down for good, and a thousand of them may
// share a machine: each has its turn, and of those that came together not all have it at once.
import type { CheckpointFeed } from '../audit/checkpoint-feed.ts';
import type { AgentLink } from './link/agent-link.ts';

/** To all agents together. */
const maxPerS = 25;

export interface CheckpointTurnsDeps {
  feed: Pick<CheckpointFeed, 'offer'> | undefined;
  /** How many agents are connected here. */
  agents(): number;
  now?: () => number;
}

export class CheckpointTurns {
  readonly #deps: CheckpointTurnsDeps;
  #second = 0;
  #givenInSecond = 0;

  constructor(deps: CheckpointTurnsDeps) {
    this.#deps = deps;
  }

  /** An agent says how much of the log the checkpoint covers that it holds. */
  async heard(
    link: Pick<AgentLink, 'agentId' | 'name' | 'segmentId' | 'checkpointAtMs' | 'checkpointSize' | 'send'>,
    heldSize: number,
  ): Promise<void> {
    const { feed, agents, now = () => performance.now() } = this.#deps;
    const turnMs = (agents() / maxPerS) * 1_000;
    if (now() - link.checkpointAtMs < turnMs) return;
    // First of all: a proof for each that has no turn would be asked of the database for nothing.
    if (!this.#takeTurn(now())) return;
    const offer = await feed?.offer(link, heldSize, link.checkpointSize);
    // The newest is known here. Where none was to be had the database was asked in vain, and is not to be by all at once.
    if (offer === 'has newest') {
      this.#givenInSecond = Math.max(0, this.#givenInSecond - 1);
      return;
    }
    link.checkpointAtMs = now();
    if (offer === undefined) return;
    link.checkpointSize = offer.size;
    link.send(offer.message);
  }

  #takeTurn(nowMs: number): boolean {
    const second = Math.floor(nowMs / 1_000);
    if (second !== this.#second) this.#givenInSecond = 0;
    this.#second = second;
    if (this.#givenInSecond >= maxPerS) return false;
    this.#givenInSecond += 1;
    return true;
  }
}
