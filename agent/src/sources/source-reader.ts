// From the name of a source to the secret, as a kind of credential has it. Programs are asked once for many steps; what a
// file or a variable holds is looked at each time.
import type { PolicyGuard } from '../policy/policy-guard.ts';
import type { SourceRule } from '../policy/policy-schema.ts';
import { parsePrivateKey, UnreadableKey } from '../ssh/login/private-key.ts';
import { SshError } from '../ssh/ssh-error.ts';
import { readSource, SourceProblem } from './read-source.ts';

/** For which what a program has printed serves other steps. */
export const defaultKeepS = 60;
const maxPasswordLength = 4_096;

export interface SourceReaderOptions {
  policy: Pick<PolicyGuard, 'sourceNamed'>;
  monotonicMs(): number;
  environment: NodeJS.ProcessEnv;
}

interface Kept {
  rule: SourceRule;
  reading: Promise<string>;
  /** Infinite while it is read. */
  untilMs: number;
}

export class SourceReader {
  readonly #options: SourceReaderOptions;
  readonly #kept = new Map<string, Kept>();

  constructor(options: SourceReaderOptions) {
    this.#options = options;
  }

  /** One line, without its end. @throws {SshError} `credential_unusable` */
  password(name: string): Promise<string> {
    return this.#told(name, async (rule) => {
      const text = (await this.#read(name, rule)).replace(/\r?\n$/, '');
      if (/[\r\n]/.test(text)) {
        throw new SourceProblem('holds several lines', 'Let it hold the password alone, on one line.');
      }
      if (text.length > maxPasswordLength) {
        const what = `holds a password of more than ${maxPasswordLength} characters`;
        throw new SourceProblem(what, 'Let it hold the password alone.');
      }
      return text;
    });
  }

  /** The text of a key file, which the passphrase opens where it has one. @throws {SshError} `credential_unusable` */
  privateKey(name: string, passphrase?: string): Promise<string> {
    return this.#told(name, async (rule) => {
      const text = await this.#read(name, rule);
      // OpenSSH's format wants the last line to be ended, which variables and programs tend to leave out.
      const key = text.endsWith('\n') ? text : `${text}\n`;
      try {
        parsePrivateKey(key, passphrase);
      } catch (error) {
        if (!(error instanceof UnreadableKey)) throw error;
        throw new SourceProblem(
          `holds no private key that can be read: ${error.why}`,
          `Let it hold ${error.wanted}.`,
        );
      }
      return key;
    });
  }

  /** What is kept of it was refused where it opens something: it may have been replaced, and asked too often it locks the user out. */
  refused(name: string): void {
    const kept = this.#kept.get(name);
    // One that is being read now is newer than what was refused.
    if (kept !== undefined && kept.untilMs !== Number.POSITIVE_INFINITY) this.#kept.delete(name);
  }

  async #told(name: string, read: (rule: SourceRule) => Promise<string>): Promise<string> {
    const { rule, place } = this.#options.policy.sourceNamed(name);
    try {
      return await read(rule);
    } catch (error) {
      if (!(error instanceof SourceProblem)) throw error;
      // Who corrects what is printed is not to wait until it is printed anew.
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
