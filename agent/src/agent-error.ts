/** An error for the person at the agent's machine: what happened, and what to do about it. Never contains a secret. */
export class AgentError extends Error {
  override readonly name = 'AgentError';
  readonly fix: string;
  /** The message for the server: replaces a message that reveals what this machine keeps to itself. */
  readonly toldToServer: string;

  constructor(message: string, fix: string, options?: ErrorOptions & { toldToServer?: string }) {
    super(message, options);
    this.fix = fix;
    this.toldToServer = options?.toldToServer ?? message;
  }
}
