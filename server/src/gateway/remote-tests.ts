// Tests targets for which only another server has an agent: the question is asked through the database and answered by
// any server that has one.
import { randomUUID } from 'node:crypto';
import type { TargetTested } from '@opsconductor/protocol';
import type { Log } from '../log.ts';
import {
  answerAsk,
  ask,
  closeAsk,
  isConnectedElsewhere,
  isTaken,
  takeAsk,
} from '../store/agents/agent-asks.ts';
import type { Sql } from '../store/database/connection.ts';
import type { TargetTestRequest } from '../targets/test-target.ts';
import { within } from '../within.ts';

export type TestAnswer = { agentName: string; tested: TargetTested } | 'offline';

/** Servers of the previous version don't know the question; then nobody takes it. */
const takenWithinMs = 3_000;
/** Added to the test's own time. */
const graceMs = 8_000;

export interface RemoteTestsDeps {
  sql: Sql;
  serverId: string;
  log: Log;
  hasAgent(segmentId: number): boolean;
  /** Has an agent that is connected here do the test. */
  testHere(request: TargetTestRequest): Promise<TestAnswer>;
  timings?: { takenWithinMs: number; graceMs: number };
}

export class RemoteTests {
  readonly #deps: RemoteTestsDeps;
  /** Functions that wake those who wait for an answer, by the question's id. */
  readonly #waiting = new Map<string, () => void>();
  readonly #running = new Set<Promise<void>>();

  constructor(deps: RemoteTestsDeps) {
    this.#deps = deps;
  }

  /** Asks the other servers. Returns `undefined` if none of them has an agent of the segment. */
  async ask(request: TargetTestRequest): Promise<TestAnswer | undefined> {
    const { sql, serverId, timings = { takenWithinMs, graceMs } } = this.#deps;
    if (!(await isConnectedElsewhere(sql, request.segmentId, serverId))) return undefined;
    const id = randomUUID();
    let wake = () => {};
    const answered = new Promise<'answered'>((resolve) => {
      wake = () => resolve('answered');
    });
    this.#waiting.set(id, wake);
    try {
      await ask(sql, { id, segmentId: request.segmentId, request });
      const isAnswered = (await within(answered, timings.takenWithinMs)) !== undefined;
      if (!isAnswered && (await isTaken(sql, id)))
        await within(answered, request.timeoutMs + timings.graceMs - timings.takenWithinMs);
    } finally {
      this.#waiting.delete(id);
    }
    // Read even if no notice came, because that may have been lost.
    return ((await closeAsk(sql, id)) as TestAnswer | undefined) ?? 'offline';
  }

  /** Called when the bus announces a question. */
  asked(id: string, segmentId: number): void {
    if (!this.#deps.hasAgent(segmentId)) return;
    const running = this.#answer(id).catch((error: unknown) =>
      this.#deps.log.warn(
        { err: error },
        'a connection test that another server asked for could not be answered',
      ),
    );
    this.#running.add(running);
    void running.finally(() => this.#running.delete(running));
  }

  /** Called when the bus announces an answer. */
  answered(id: string): void {
    this.#waiting.get(id)?.();
  }

  /** Ends all waiting. Resolves when nothing is in progress any more. */
  async stop(): Promise<void> {
    for (const wake of this.#waiting.values()) wake();
    await Promise.all(this.#running);
  }

  async #answer(id: string): Promise<void> {
    const { sql, serverId, testHere } = this.#deps;
    const request = await takeAsk(sql, id, serverId);
    if (request === undefined) return;
    await answerAsk(sql, id, await testHere(request as TargetTestRequest));
  }
}
