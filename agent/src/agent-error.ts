/** An error for the person at the agent's machine: what happened, and what to do about it. Never holds a secret. */
export class AgentError extends Error {
  override readonly name = 'AgentError';
  readonly fix: string;

  constructor(message: string, fix: string, options?: ErrorOptions) {
    super(message, options);
    this.fix = fix;
  }
}
