// Reads one setting at a time, from its flag or its variable, and collects problems: the setting's name, what was
// found, what is allowed.
import { nearName } from '@opsconductor/protocol';

export type Environment = Readonly<Record<string, string | undefined>>;

interface TextSetting {
  flag: string;
  variable: string;
  /** What the command line says, if anything. */
  given: string | undefined;
}

export class SettingReader {
  readonly #env: Environment;
  readonly #known = new Set<string>();
  readonly problems: string[];

  constructor(env: Environment, problems: string[]) {
    this.#env = env;
    this.problems = problems;
  }

  /**
   * Returns the setting's value; undefined if it is not set or is refused by `parse`, which is a problem.
   *
   * @param allowed what `parse` accepts, in words.
   */
  text<T>(
    { flag, variable, given }: TextSetting,
    parse: (text: string) => T | undefined,
    allowed: string,
  ): T | undefined {
    const text = given ?? this.variable(variable);
    if (text === undefined) return undefined;
    // A flag with nothing behind it is a variable of the caller that was not set. As a path it would mean this folder.
    const value = text.trim() === '' ? undefined : parse(text.trim());
    if (value === undefined)
      this.problems.push(
        `${given === undefined ? variable : flag}: found ${JSON.stringify(text)}; allowed: ${allowed}`,
      );
    return value;
  }

  /** Reads only the environment, because every user of the machine can read arguments. */
  secret(variable: string, isValid: (text: string) => boolean, allowed: string): string | undefined {
    const text = this.variable(variable);
    if (text === undefined || isValid(text)) return text;
    this.problems.push(
      `${variable}: what was found (${text.length} characters, not shown) is not allowed; allowed: ${allowed}`,
    );
    return undefined;
  }

  /** @param given what the command line says, if anything. */
  flag(variable: string, given: boolean | undefined): boolean | undefined {
    const words: Record<string, boolean> = {
      true: true,
      '1': true,
      yes: true,
      false: false,
      '0': false,
      no: false,
    };
    const value = this.text(
      { flag: variable, variable, given: undefined },
      (text) => words[text.toLowerCase()],
      'true or false',
    );
    return given ?? value;
  }

  /** Returns a variable as it is; `undefined` if it is empty. */
  variable(name: string): string | undefined {
    this.#known.add(name);
    return filled(this.#env[name]);
  }

  /** Says of each variable that looks like a setting and was never read that it has no effect. Call this last. */
  unknownVariables(): string[] {
    const known = [...this.#known];
    return Object.keys(this.#env)
      .filter((name) => name.startsWith('OPSCONDUCTOR_') && !this.#known.has(name))
      .map((name) => {
        const near = nearName(name, known) ?? known.find((each) => name.endsWith(`_${each}`));
        return `${name} is no setting of the server and has no effect${near === undefined ? '' : `; did you mean ${near}?`}`;
      });
  }
}

/** An empty variable counts as not set. */
function filled(text: string | undefined): string | undefined {
  return text === undefined || text.trim() === '' ? undefined : text;
}
