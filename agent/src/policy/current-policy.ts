// The policy as it is now: whoever holds it goes by what was read last.

import { AgentError } from '../agent-error.ts';
import type { Logger } from '../log.ts';
import { type AgentPolicy, type PolicyRules, type PolicySource, readPolicy } from './agent-policy.ts';
import type { FileRoot } from './file-roots.ts';

/** How a policy file was read again: where it was not taken, why. */
export type PolicyReading = { accepted: true } | { accepted: false; problem: string };

export class CurrentPolicy implements AgentPolicy {
  #policy: AgentPolicy;
  #reading: Promise<unknown> = Promise.resolve();

  constructor(policy: AgentPolicy) {
    this.#policy = policy;
  }

  get fileRoots(): readonly FileRoot[] {
    return this.#policy.fileRoots;
  }

  get rules(): PolicyRules {
    return this.#policy.rules ?? {};
  }

  get source(): PolicySource | undefined {
    return this.#policy.source;
  }

  /** Reads its file again. One that is wrong changes nothing. */
  read(file: string, dataDir: string, log: Pick<Logger, 'info' | 'error'>): Promise<PolicyReading> {
    const reading = this.#reading.then(async (): Promise<PolicyReading> => {
      try {
        this.#policy = await readPolicy(file, dataDir);
        log.info({ file }, 'the policy file was read again, and holds from now on');
        return { accepted: true };
      } catch (error) {
        const holdsOn = 'the policy that was read before holds on';
        if (error instanceof AgentError) {
          log.error({ file }, `${holdsOn}: ${error.message} ${error.fix}`);
          return { accepted: false, problem: error.toldToServer };
        }
        // Its machine refuses something, or a bug: a file that is wrong ends no agent.
        log.error({ file, err: error }, holdsOn);
        return {
          accepted: false,
          problem: 'The policy file could not be read: the log of the agent says why.',
        };
      }
    });
    this.#reading = reading;
    return reading;
  }
}
