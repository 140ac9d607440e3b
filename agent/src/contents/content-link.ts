// Asks the server for files and hands artifacts over, on whatever connection there is: what a cut has left without an answer
// is asked again on the next one.
import { randomUUID } from 'node:crypto';
import {
  type AgentMessageOf,
  type ContentAnswer,
  type ContentRequest,
  limits,
  type ServerMessageOf,
} from '@opsconductor/protocol';
import { Slots } from '../sftp/copy/slots.ts';

type Send = (message: AgentMessageOf<'content'>) => void;
type AttemptName = Pick<AgentMessageOf<'content'>, 'step' | 'epoch' | 'leaseToken'>;

/** What a step asks for its attempt. */
export type AskServer = (request: ContentRequest) => Promise<ContentAnswer>;

export class ContentLink {
  #send: Send | undefined;
  readonly #pending = new Map<string, (answer: ContentAnswer | undefined) => void>();
  readonly #arrivals = new Set<() => void>();
  /** The server takes so many before it has answered the first. */
  readonly #pieces = new Slots(limits.maxContentRequests);

  /** A session with a server that answers. */
  began(send: Send): void {
    this.#send = send;
    for (const arrive of [...this.#arrivals]) arrive();
  }

  ended(): void {
    this.#send = undefined;
    for (const settle of [...this.#pending.values()]) settle(undefined);
  }

  onReply({ requestId, answer }: ServerMessageOf<'content_reply'>): void {
    this.#pending.get(requestId)?.(answer);
  }

  /** Rejects with the signal's reason alone. */
  async ask(attempt: AttemptName, request: ContentRequest, signal: AbortSignal): Promise<ContentAnswer> {
    for (;;) {
      const answer = await this.#askOnce(attempt, request, signal);
      if (answer !== undefined) return answer;
    }
  }

  /** Undefined where the connection ended before the answer. */
  async #askOnce(
    attempt: AttemptName,
    request: ContentRequest,
    signal: AbortSignal,
  ): Promise<ContentAnswer | undefined> {
    await this.#session(signal);
    const isPiece = request.do === 'read_file' || request.do === 'write_artifact';
    if (isPiece) await this.#pieces.take();
    const release = () => {
      if (isPiece) this.#pieces.give();
    };
    const send = this.#send;
    if (send === undefined || signal.aborted) {
      release();
      signal.throwIfAborted();
      return undefined;
    }
    return new Promise((resolve, reject) => {
      const requestId = randomUUID();
      const onAbort = () => reject(signal.reason);
      signal.addEventListener('abort', onAbort, { once: true });
      // Of one that is given up, the answer still gives its place back.
      this.#pending.set(requestId, (answer) => {
        this.#pending.delete(requestId);
        signal.removeEventListener('abort', onAbort);
        release();
        resolve(answer);
      });
      send({ type: 'content', requestId, ...attempt, request });
    });
  }

  async #session(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.#send !== undefined) return;
    await new Promise<void>((resolve, reject) => {
      const end = () => {
        this.#arrivals.delete(arrive);
        signal.removeEventListener('abort', onAbort);
      };
      const arrive = () => {
        end();
        resolve();
      };
      const onAbort = () => {
        end();
        reject(signal.reason);
      };
      this.#arrivals.add(arrive);
      signal.addEventListener('abort', onAbort);
    });
  }
}
