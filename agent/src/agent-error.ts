/** An error for the person at the agent's machine: what happened, and what to do about it. Never holds a secret. */
export class AgentError extends Error {
  override readonly name = 'AgentError';
  readonly fix: string;
  /** The message, or what takes its place where it says what this machine keeps to itself. */
  readonly toldToServer: string;

  constructor(message: string, fix: string, options?: ErrorOptions & { toldToServer?: string }) {
    super(message, options);
    this.fix = fix;
    this.toldToServer = options?.toldToServer ?? message;
  }
}
