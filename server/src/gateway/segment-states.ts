// Tells agents the newest state of their segment. The state is read only once at a time for each agent: of two
// concurrent reads the older could arrive last, and a roster older than one that the agent has seen looks like a
// rollback to it. Many changes in short order are told in a few messages.
import type { Log } from '../log.ts';
import type { SegmentState } from '../segments/segment-state.ts';
import { Turns } from '../turns/turns.ts';
import type { AgentLink } from './link/agent-link.ts';

/** Reads at the same time, for all agents: when hundreds come back at once, their steps need the database too. */
const readAtOnce = 4;

type Hearer = Pick<AgentLink, 'agentId' | 'name' | 'send' | 'isEnding'>;

export interface SegmentStatesDeps {
  /** Returns what an agent is to be told, or `undefined` for nothing. */
  read(agentId: number): Promise<SegmentState | undefined>;
  log: Log;
}

interface Telling {
  /** Whether something has changed since the state was last read. */
  again: boolean;
  done: Promise<void>;
}

export class SegmentStates {
  readonly #deps: SegmentStatesDeps;
  readonly #tellings = new Map<Hearer, Telling>();
  readonly #turns = new Turns(readAtOnce);

  constructor(deps: SegmentStatesDeps) {
    this.#deps = deps;
  }

  /** Tells the agent its current state, and resolves once that is sent. Never rejects. */
  tell(link: Hearer): Promise<void> {
    const going = this.#tellings.get(link);
    if (going !== undefined) {
      going.again = true;
      return going.done;
    }
    const telling: Telling = { again: true, done: Promise.resolve() };
    this.#tellings.set(link, telling);
    telling.done = this.#tellAll(link, telling);
    return telling.done;
  }

  async #tellAll(link: Hearer, telling: Telling): Promise<void> {
    while (telling.again && !link.isEnding) {
      await this.#turns.take();
      telling.again = false;
      try {
        const state = await this.#deps.read(link.agentId);
        if (state !== undefined) link.send(state);
      } catch (error) {
        this.#deps.log.error(
          { err: error, agent: link.name },
          'an agent could not be sent the state of its segment; it gets it when it changes next, or when the agent reconnects',
        );
      } finally {
        this.#turns.done();
      }
    }
    // In the same turn as the last check of `again`, so that later callers start a new telling.
    this.#tellings.delete(link);
  }
}
