// Reads one setting at a time, from its flag or its variable, and collects problems: the setting's name, what was
// found, what is allowed.

export type Environment = Readonly<Record<string, string | undefined>>;

export class SettingReader {
  readonly #env: Environment;
  readonly problems: string[];

  constructor(env: Environment, problems: string[]) {
    this.#env = env;
    this.problems = problems;
  }

  text<T>(
    flag: string,
    variable: string,
    given: string | undefined,
    parse: (text: string) => T | undefined,
    allowed: string,
  ): T | undefined {
    const text = given ?? filled(this.#env[variable]);
    if (text === undefined) return undefined;
    const value = parse(text.trim());
    if (value === undefined)
      this.problems.push(
        `${given === undefined ? variable : flag}: found ${JSON.stringify(text)}; allowed: ${allowed}`,
      );
    return value;
  }

  /** Reads only the environment, because every user of the machine can read arguments. */
  secret(variable: string, isValid: (text: string) => boolean, allowed: string): string | undefined {
    const text = filled(this.#env[variable]);
    if (text === undefined || isValid(text)) return text;
    this.problems.push(
      `${variable}: what was found (${text.length} characters, not shown) is not allowed; allowed: ${allowed}`,
    );
    return undefined;
  }

  flag(variable: string): boolean | undefined {
    const words: Record<string, boolean> = {
      true: true,
      '1': true,
      yes: true,
      false: false,
      '0': false,
      no: false,
    };
    return this.text(variable, variable, undefined, (text) => words[text.toLowerCase()], 'true or false');
  }
}

/** An empty variable counts as not set. */
export function filled(text: string | undefined): string | undefined {
  return text === undefined || text.trim() === '' ? undefined : text;
}
