// How hosts came to be unknown. Not every one of them has an agent that was cut off.

interface UnknownStep {
  agentName: string | null;
  /** `null`: nobody said why. */
  reason: string | null;
}

/** The agent went away, or the process with which it watched the command. */
const cutOff: ReadonlySet<string | null> = new Set([
  'agent_silent',
  'agent_revoked',
  'agent_restarted',
  'supervisor_lost',
  null,
]);

/**
 * Says it of all unknown steps together: `dmz-1-b was cut off while a step ran.`
 * @param isAll Whether these are the steps of all unknown hosts; otherwise there are more, of which nothing is known.
 */
export function troubleWords(steps: readonly UnknownStep[], isAll: boolean): string {
  if (steps.length > 0 && steps.every(({ reason }) => reason === 'cancel_forced')) {
    return 'The cancel was forced while a step ran, without waiting for its agent.';
  }
  if (!steps.every(({ reason }) => cutOff.has(reason))) return 'How a step ended there is not known.';
  const agents = [...new Set(steps.map(({ agentName }) => agentName ?? 'an agent'))];
  if (agents.length === 0) return 'Agents were cut off while a step ran.';
  const more = agents.length > 3 ? ` and ${agents.length - 3} more` : isAll ? '' : ', perhaps others,';
  const who = `${agents.slice(0, 3).join(', ')}${more}`.replace(/^an agent/, 'An agent');
  return `${who} ${agents.length === 1 && isAll ? 'was' : 'were'} cut off while a step ran.`;
}

/** Whether an agent that has the step may still report how it ended; otherwise it has already said that it doesn’t know. */
export function mayReport({ reason }: UnknownStep): boolean {
  return reason === 'agent_silent' || reason === 'cancel_unconfirmed' || reason === 'cancel_forced';
}
