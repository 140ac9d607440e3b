// The policy in force: whoever holds this object uses what was read last.

import { AgentError } from '../agent-error.ts';
import type { Logger } from '../log.ts';
import { type AgentPolicy, type PolicyRules, type PolicySource, readPolicy } from './agent-policy.ts';
import type { FileRoot } from './file-roots.ts';

/** The result of reading the policy file again, with the reason if it was not accepted. */
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

  /** Reads the policy file again. A file that is wrong changes nothing. */
  read(file: string, dataDir: string, log: Pick<Logger, 'info' | 'error'>): Promise<PolicyReading> {
    const reading = this.#reading.then(async (): Promise<PolicyReading> => {
      try {
        this.#policy = await readPolicy(file, dataDir);
        log.info({ file }, 'the policy file was read again and is now in force');
        return { accepted: true };
      } catch (error) {
        const holdsOn = 'the policy file was not accepted; the previous policy stays in force';
        if (error instanceof AgentError) {
          log.error({ file }, `${holdsOn}: ${error.message} ${error.fix}`);
          return { accepted: false, problem: error.toldToServer };
        }
        // The machine refused something, or there is a bug: a policy file never ends the agent.
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
