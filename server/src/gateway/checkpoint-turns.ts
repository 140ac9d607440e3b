// Decides when agents are given the newest checkpoint of the audit log. They write it to disk, and a thousand of them
// may share one machine, so agents take turns, and those that connected together don't all have their turn at once.
import type { CheckpointFeed } from '../audit/checkpoints/checkpoint-feed.ts';
import type { AgentLink } from './link/agent-link.ts';

/** Checkpoints given to all agents together. */
const maxPerS = 25;

export interface CheckpointTurnsDeps {
  feed: Pick<CheckpointFeed, 'offer'> | undefined;
  /** Returns how many agents are connected here. */
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

  /** Handles an agent's report of how many rows the checkpoint that it holds covers. */
  async heard(
    link: Pick<AgentLink, 'agentId' | 'name' | 'segmentId' | 'checkpointAtMs' | 'checkpointSize' | 'send'>,
    heldSize: number,
  ): Promise<void> {
    const { feed, agents, now = () => performance.now() } = this.#deps;
    const turnMs = (agents() / maxPerS) * 1_000;
    if (now() - link.checkpointAtMs < turnMs) return;
    // Checked before anything is read: otherwise the database would compute proofs for agents that have no turn.
    if (!this.#takeTurn(now())) return;
    const offer = await feed?.offer(link, heldSize, link.checkpointSize);
    // If the agent has the newest one, no turn is used up. If there was none to offer, the turn stays used, so that not
    // all agents make the database look for it in vain at once.
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
