// The target tests that one agent was asked for and hasn't answered yet.
import type { ServerMessageOf, TargetTested } from '@opsconductor/protocol';
import { AppError } from '../../errors.ts';

export class TargetTests {
  readonly #tests = new Map<string, (result: TargetTested) => void>();

  /** Sends the request by `ask`. Rejects if the agent doesn't answer in time. */
  start(agentName: string, message: ServerMessageOf<'test_target'>, ask: () => void): Promise<TargetTested> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#tests.delete(message.requestId);
        reject(new AppError('unavailable', `Agent ${agentName} did not answer the test in time.`));
      }, message.timeoutMs + 5_000);
      this.#tests.set(message.requestId, (result) => {
        clearTimeout(timer);
        this.#tests.delete(message.requestId);
        resolve(result);
      });
      ask();
    });
  }

  answered(result: TargetTested): void {
    this.#tests.get(result.requestId)?.(result);
  }

  /** Answers all tests as `offline`, because the agent is gone. */
  close(): void {
    for (const answer of this.#tests.values()) {
      answer({
        type: 'target_tested',
        requestId: '',
        ok: false,
        reason: 'offline',
        message: 'The agent went away during the test.',
      });
    }
  }
}
