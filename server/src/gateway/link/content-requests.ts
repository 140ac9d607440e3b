// Answers one agent's requests for files and its artifacts, one after the other. How many requests it may send ahead of
// the answers is limited, and so is what waits here.
import { type AgentMessageOf, limits, type ServerMessageOf } from '@opsconductor/protocol';
import type { AgentContents, HeldAttempt } from '../../files/agent-contents.ts';

/** Twice what an agent with all slots in use requests at a time, because requests of cancelled steps wait as well. */
const maxWaiting = 2 * limits.maxSlots * limits.maxArtifactsAtATime;

export interface ContentRequestsDeps {
  contents: Pick<AgentContents, 'answer'> | undefined;
  /** Returns the attempt if the agent holds it. */
  find(message: AgentMessageOf<'content'>): HeldAttempt | undefined;
  reply(reply: ServerMessageOf<'content_reply'>): void;
  onFailure(error: unknown): void;
}

export class ContentRequests {
  readonly #deps: ContentRequestsDeps;
  #waiting = 0;
  #pieces = 0;
  #work: Promise<void> = Promise.resolve();

  constructor(deps: ContentRequestsDeps) {
    this.#deps = deps;
  }

  /** Returns false if the agent requests more than it may before it is answered. */
  take(message: AgentMessageOf<'content'>): boolean {
    const isPiece = message.request.do === 'write_artifact' || message.request.do === 'read_file';
    if (this.#waiting >= maxWaiting || (isPiece && this.#pieces >= limits.maxContentRequests)) return false;
    this.#waiting += 1;
    if (isPiece) this.#pieces += 1;
    this.#work = this.#work.then(async () => {
      try {
        await this.#answer(message);
      } catch (error) {
        this.#deps.onFailure(error);
      } finally {
        this.#waiting -= 1;
        if (isPiece) this.#pieces -= 1;
      }
    });
    return true;
  }

  async #answer(message: AgentMessageOf<'content'>): Promise<void> {
    const { contents, find, reply } = this.#deps;
    const { requestId, request } = message;
    const attempt = find(message);
    const answer =
      attempt === undefined || contents === undefined
        ? { problem: notHeld }
        : await contents.answer(attempt, request);
    reply({ type: 'content_reply', requestId, answer });
  }
}

const notHeld = {
  reason: 'transfer_failed',
  message: 'The server does not know this attempt, and gives or takes nothing for it.',
  advice: 'Look at the attempt that came after it.',
} as const;
