// Asks the server for files and gives it artifacts, on whichever connection there is. Requests that a lost connection
// left unanswered are sent again on the next one.
import { randomUUID } from 'node:crypto';
import {
  type AgentMessageOf,
  type ContentAnswer,
  type ContentRequest,
  limits,
  type ServerMessageOf,
} from '@opsconductor/protocol';
import { abortable } from '../timing/abortable.ts';
import { Semaphore } from '../timing/semaphore.ts';

type Send = (message: AgentMessageOf<'content'>) => void;
type AttemptName = Pick<AgentMessageOf<'content'>, 'step' | 'epoch' | 'leaseToken'>;

/** Sends a request of a step, on behalf of its attempt. */
export type AskServer = (request: ContentRequest) => Promise<ContentAnswer>;

export class ContentLink {
  #send: Send | undefined;
  readonly #pending = new Map<string, (answer: ContentAnswer | undefined) => void>();
  readonly #arrivals = new Set<() => void>();
  /** Limits the unanswered requests for pieces to what the server accepts. */
  readonly #pieces = new Semaphore(limits.maxContentRequests);

  /** A session began with a server that supports these requests. */
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

  /** Sends a request until it is answered. Rejects only with the signal's reason. */
  async ask(attempt: AttemptName, request: ContentRequest, signal: AbortSignal): Promise<ContentAnswer> {
    for (;;) {
      const answer = await this.#askOnce(attempt, request, signal);
      if (answer !== undefined) return answer;
    }
  }

  /** Returns undefined if the connection ended before the answer. */
  async #askOnce(
    attempt: AttemptName,
    request: ContentRequest,
    signal: AbortSignal,
  ): Promise<ContentAnswer | undefined> {
    await this.#session(signal);
    const isPiece = request.do === 'read_file' || request.do === 'write_artifact';
    if (isPiece) await this.#placeForPiece(signal);
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
      // If the caller gives up, the slot is still freed only by the answer.
      this.#pending.set(requestId, (answer) => {
        this.#pending.delete(requestId);
        signal.removeEventListener('abort', onAbort);
        release();
        resolve(answer);
      });
      send({ type: 'content', requestId, ...attempt, request });
    });
  }

  /** Rejects with the signal's reason. What comes too late then goes on to the next who waits. */
  async #placeForPiece(signal: AbortSignal): Promise<void> {
    const taken = this.#pieces.take();
    if (taken === undefined) return;
    await abortable(taken, signal).catch((error: unknown) => {
      void taken.then(() => this.#pieces.give());
      throw error;
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
