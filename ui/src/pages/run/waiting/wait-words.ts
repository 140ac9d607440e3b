// What one can do about a wait, as a link.
import type { Step, TargetRun, Wait } from '@opsconductor/protocol';
import { counted } from '../../../format/quantity.ts';
import { paths } from '../../../paths.ts';

export interface WaitLink {
  text: string;
  href: string;
}

/** Returns pages where something can be done about it, the most direct first; empty if it ends by itself. */
export function waitLinks(wait: Wait): WaitLink[] {
  const runs = wait.runs.map((id) => ({ text: `Run ${id}`, href: paths.run(id) }));
  switch (wait.code) {
    case 'no_agent':
    case 'agents_offline':
    case 'agents_silent':
    case 'agents_disabled':
    case 'agents_draining':
    case 'agents_busy':
    case 'agents_starting':
    case 'no_segment_key':
    case 'no_free_slot':
    case 'agent_unheard':
      return [agentsLink(wait), ...runs];
    default:
      return runs;
  }
}

function agentsLink({ segmentId, segmentName }: Wait): WaitLink {
  const where = segmentName === null ? '' : ` of ${segmentName}`;
  return { text: `Agents${where}`, href: paths.agents({ segmentId: segmentId ?? undefined }) };
}

/** The hosts that are not named: `and 3 more`. */
export function restWords({ targets, examples }: Pick<Wait, 'targets' | 'examples'>): string {
  const rest = targets - examples.length;
  return rest > 0 ? `and ${counted(rest, 'more host')}` : '';
}

/** What a host's ready step may wait for; another host of the same segment may wait for something else. */
const readyCodes: ReadonlySet<Wait['code']> = new Set([
  'no_agent',
  'agents_offline',
  'agents_silent',
  'agents_disabled',
  'agents_draining',
  'agents_busy',
  'agents_starting',
  'no_segment_key',
  'no_capable_agent',
  'no_able_agent',
  'no_free_slot',
  'behind_priority',
  'starts_now',
  'lock',
]);

/** What a host with a ready step waits for; undefined if it could be one of several things. */
export function waitOf(
  waits: readonly Wait[],
  { id, segmentId }: Pick<TargetRun, 'id' | 'segmentId'>,
): Wait | undefined {
  const here = waits.filter((wait) => readyCodes.has(wait.code) && wait.segmentId === segmentId);
  const named = here.find(({ examples }) => examples.some(({ targetRunId }) => targetRunId === id));
  return named ?? (here.length === 1 ? here[0] : undefined);
}

/**
 * Whether it holds a host up before it begins or between its steps. A running step is not a wait, whether its agent has
 * contact or not.
 */
export function isWait(wait: Pick<Wait, 'code'>): boolean {
  return wait.code !== 'leased' && !isUnheard(wait);
}

/** Whether what a running step is doing now isn't known: its agent has no contact, or its host does not answer the agent. */
export function isUnheard({ code }: Pick<Wait, 'code'>): boolean {
  return code === 'agent_unheard' || code === 'target_silent';
}

/** For a running step: what is known about its agent if that has no contact, or about its host if that does not answer. */
export function unheardOf(
  waits: readonly Wait[],
  { id, segmentId }: Pick<TargetRun, 'id' | 'segmentId'>,
  step: Pick<Step, 'status' | 'agentName'>,
): Wait | undefined {
  if (step.status !== 'running') return undefined;
  return waits.find(
    (wait) =>
      isUnheard(wait) &&
      wait.segmentId === segmentId &&
      wait.agentName === step.agentName &&
      (wait.code === 'agent_unheard' || wait.examples.some(({ targetRunId }) => targetRunId === id)),
  );
}
