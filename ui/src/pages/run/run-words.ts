// What is said of a whole run.
import type { Run } from '@opsconductor/protocol';
import { counted } from '../../format/quantity.ts';

/** What cancelling a run does, with only what there is to do. */
export function cancelWords(run: Pick<Run, 'targetsRunning' | 'targetsQueued'>): string {
  const parts: string[] = [];
  if (run.targetsRunning > 0) {
    parts.push(`Steps that run on ${counted(run.targetsRunning, 'host')} are stopped with TERM, then KILL.`);
  }
  if (run.targetsQueued > 0) {
    parts.push(`${counted(run.targetsQueued, 'host is', 'hosts are')} still queued and will not start.`);
  }
  parts.push('Steps that ended stay as they are.');
  return parts.join(' ');
}
