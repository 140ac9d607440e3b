// Gets the secret of a named source, in the form of a kind of credential. A program's output is used for many steps; a
// file or a variable is read each time.
import type { PolicyGuard } from '../policy/policy-guard.ts';
import type { SourceRule } from '../policy/policy-schema.ts';
import { parsePrivateKey, UnreadableKey } from '../ssh/login/private-key.ts';
import { SshError } from '../ssh/ssh-error.ts';
import { readSource, SourceProblem } from './read-source.ts';

/** How long a program's output is used for other steps, by default. */
const defaultKeepS = 60;
const maxPasswordLength = 4_096;

export interface SourceReaderOptions {
  policy: Pick<PolicyGuard, 'sourceNamed'>;
  monotonicMs(): number;
  environment: NodeJS.ProcessEnv;
}

interface Kept {
  rule: SourceRule;
  reading: Promise<string>;
  /** Infinite while it is being read. */
  untilMs: number;
}

export class SourceReader {
  readonly #options: SourceReaderOptions;
  readonly #kept = new Map<string, Kept>();

  constructor(options: SourceReaderOptions) {
    this.#options = options;
  }

  /**
   * Returns one line, without its line end.
   *
   * @throws {SshError} `credential_unusable`
   */
  password(name: string): Promise<string> {
    return this.#told(name, async (rule) => {
      const text = (await this.#read(name, rule)).replace(/\r?\n$/, '');
      if (/[\r\n]/.test(text)) {
        throw new SourceProblem('holds several lines', 'Make it hold only the password, on one line.');
      }
      if (text.length > maxPasswordLength) {
        const what = `holds a password of more than ${maxPasswordLength} characters`;
        throw new SourceProblem(what, 'Make it hold only the password.');
      }
      return text;
    });
  }

  /**
   * Returns the text of a key file, checked to open with the passphrase if it has one.
   *
   * @throws {SshError} `credential_unusable`
   */
  privateKey(name: string, passphrase?: string): Promise<string> {
    return this.#told(name, async (rule) => {
      const text = await this.#read(name, rule);
      // OpenSSH's format requires the last line to be ended, and variables and programs often leave that out.
      const key = text.endsWith('\n') ? text : `${text}\n`;
      try {
        parsePrivateKey(key, passphrase);
      } catch (error) {
        if (!(error instanceof UnreadableKey)) throw error;
        throw new SourceProblem(
          `holds no readable private key: ${error.why}`,
          `Make it hold ${error.wanted}.`,
        );
      }
      return key;
    });
  }

  /**
   * Forgets the cached output because a host refused it: it may have been replaced, and retrying it too often locks the
   * user out.
   */
  refused(name: string): void {
    const kept = this.#kept.get(name);
    // What is being read now is newer than what was refused.
    if (kept !== undefined && kept.untilMs !== Number.POSITIVE_INFINITY) this.#kept.delete(name);
  }

  async #told(name: string, read: (rule: SourceRule) => Promise<string>): Promise<string> {
    const { rule, place } = this.#options.policy.sourceNamed(name);
    try {
      return await read(rule);
    } catch (error) {
      if (!(error instanceof SourceProblem)) throw error;
      // After somebody corrects what is printed, the next step should not have to wait for the cache to expire.
      this.refused(name);
      throw new SshError({
        reason: 'credential_unusable',
        message: `Source ${name} of this agent’s policy${place} ${error.message}.`,
        advice: `On the agent’s machine: ${error.advice}`,
      });
    }
  }

  async #read(name: string, rule: SourceRule): Promise<string> {
    const { environment, monotonicMs } = this.#options;
    if (rule.command === undefined) return readSource(rule, environment);
    const kept = this.#kept.get(name);
    if (kept !== undefined && kept.rule === rule && kept.untilMs > monotonicMs()) return kept.reading;
    const reading = readSource(rule, environment);
    const mine: Kept = { rule, reading, untilMs: Number.POSITIVE_INFINITY };
    this.#kept.set(name, mine);
    try {
      const text = await reading;
      mine.untilMs = monotonicMs() + (rule.keep_s ?? defaultKeepS) * 1_000;
      return text;
    } catch (error) {
      if (this.#kept.get(name) === mine) this.#kept.delete(name);
      throw error;
    }
  }
}
