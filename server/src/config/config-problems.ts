// Errors that end the reading of a server's settings without a start.

/** All problems, one per line. */
export class ConfigError extends Error {
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(problems.join('\n'));
    this.name = 'ConfigError';
    this.problems = problems;
  }
}

/** Not an error: `--help` was given. */
export class HelpRequested extends Error {
  readonly text: string;

  constructor(text: string) {
    super('help was requested');
    this.name = 'HelpRequested';
    this.text = text;
  }
}
