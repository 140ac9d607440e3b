// What a server's settings end in where it is not started by them.

/** All that is wrong, a line each. */
export class ConfigError extends Error {
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(problems.join('\n'));
    this.name = 'ConfigError';
    this.problems = problems;
  }
}

/** Not a fault: `--help` was given. */
export class HelpRequested extends Error {
  readonly text: string;

  constructor(text: string) {
    super('help was requested');
    this.name = 'HelpRequested';
    this.text = text;
  }
}
