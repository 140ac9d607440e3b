// The tests of targets that one agent was asked for and has not answered.
import type { ServerMessageOf, TargetTested } from '@opsconductor/protocol';
import { AppError } from '../../errors.ts';

export class TargetTests {
  readonly #tests = new Map<string, (result: TargetTested) => void>();

  /** Rejects when the agent doesn't answer in time; `ask` sends the message. */
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

  /** The agent is gone: nobody answers any more. */
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
