// The policy as it is now: whoever holds it goes by what was read last.

import { AgentError } from '../agent-error.ts';
import type { Logger } from '../log.ts';
import {
  type AgentPolicy,
  type FileRoot,
  type PolicyRules,
  type PolicySource,
  readPolicy,
} from './agent-policy.ts';

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
        if (!(error instanceof AgentError)) throw error;
        log.error({ file }, `the policy that was read before holds on: ${error.message} ${error.fix}`);
        return { accepted: false, problem: error.message };
      }
    });
    this.#reading = reading.catch(() => undefined);
    return reading;
  }
}
