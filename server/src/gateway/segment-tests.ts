// Tests targets through the agents of their segments, whichever server those are connected to.
import { randomUUID } from 'node:crypto';
import { AppError } from '../errors.ts';
import type { Log } from '../log.ts';
import { agentsOf } from '../store/agents/agent-sessions.ts';
import type { Sql } from '../store/database/connection.ts';
import type { TargetTester, TargetTestRequest } from '../targets/test-target.ts';
import { agentTooOld } from './connections/agent-too-old.ts';
import type { Links } from './connections/links.ts';
import { RemoteTests, type TestAnswer } from './remote-tests.ts';

export interface SegmentTestsDeps {
  sql: Sql;
  serverId: string;
  log: Log;
  links: Pick<Links, 'ready'>;
}

/** Why nobody could be asked. */
const answerWithout = { none: 'no_agent', barred: 'disabled', active: 'offline' } as const;

export class SegmentTests implements TargetTester {
  readonly #deps: SegmentTestsDeps;
  readonly #remote: RemoteTests;

  constructor(deps: SegmentTestsDeps) {
    this.#deps = deps;
    const { sql, serverId, log, links } = deps;
    this.#remote = new RemoteTests({
      sql,
      serverId,
      log,
      hasAgent: (segmentId) => links.ready(segmentId).length > 0,
      testHere: async (request) => (await this.#testHere(request)) ?? 'offline',
    });
  }

  async testTarget(request: TargetTestRequest): Promise<TestAnswer | 'no_agent' | 'disabled'> {
    const answer = (await this.#testHere(request)) ?? (await this.#remote.ask(request));
    if (answer !== undefined) return answer;
    return answerWithout[await agentsOf(this.#deps.sql, request.segmentId)];
  }

  /** Returns `undefined` if no agent of the segment is connected to this server. */
  async #testHere(request: TargetTestRequest): Promise<TestAnswer | undefined> {
    const links = this.#deps.links.ready(request.segmentId);
    const link = links.find((each) => agentTooOld(each, request.target) === undefined) ?? links[0];
    if (link === undefined) return undefined;
    const requestId = randomUUID();
    const tooOld = agentTooOld(link, request.target);
    if (tooOld !== undefined)
      return {
        agentName: link.name,
        tested: { type: 'target_tested', requestId, ok: false, ...tooOld.outcome },
      };
    try {
      const { segmentId: _, ...rest } = request;
      const tested = await link.testTarget({ type: 'test_target', requestId, ...rest });
      return tested.reason === 'offline' ? 'offline' : { agentName: link.name, tested };
    } catch (error) {
      if (error instanceof AppError && error.code === 'unavailable') return 'offline';
      throw error;
    }
  }

  /** Called when the bus announces a question of another server. */
  asked(id: string, segmentId: number): void {
    this.#remote.asked(id, segmentId);
  }

  /** Called when the bus announces an answer. */
  answered(id: string): void {
    this.#remote.answered(id);
  }

  /** Resolves when nothing is in progress any more. */
  async stop(): Promise<void> {
    await this.#remote.stop();
  }
}
