// What agents are told of their segment: the newest of it, read for each agent once at a time. Read twice at once the
// older could arrive last, and to an agent a roster that is older than one it has seen is a rollback. Many changes in
// short order are told by few messages.
import type { Log } from '../log.ts';
import type { SegmentState } from '../segments/segment-state.ts';
import { Turns } from '../turns.ts';
import type { AgentLink } from './link/agent-link.ts';

/** Read at a time, of all agents: where hundreds come back at once their steps need the database too. */
const readAtOnce = 4;

type Hearer = Pick<AgentLink, 'agentId' | 'name' | 'send' | 'isEnding'>;

export interface SegmentStatesDeps {
  /** What an agent is to hear; undefined for nothing. */
  read(agentId: number): Promise<SegmentState | undefined>;
  log: Log;
}

interface Telling {
  /** Something has changed since it was last read. */
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

  /** Tells the agent what is so now; resolves once it is sent. Never rejects. */
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
        this.#deps.log.error({ err: error, agent: link.name }, 'segment state could not be sent');
      } finally {
        this.#turns.done();
      }
    }
    // In the same turn as the last look at `again`: who asks from now on begins anew.
    this.#tellings.delete(link);
  }
}
