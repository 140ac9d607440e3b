// Loading the program opens more than a hundred files at once, and each agent and reader takes another one.
import { readFileSync } from 'node:fs';

const needed = 256;

/**
 * Returns what is wrong with this process's limit of open files, and the fix; `undefined` if nothing is, or if it is
 * unknown.
 */
export function openFilesProblem() {
  let limits;
  try {
    limits = readFileSync('/proc/self/limits', 'utf8');
  } catch {
    return undefined;
  }
  const allowed = Number(/^Max open files\s+(\d+)/m.exec(limits)?.[1] ?? needed);
  if (allowed >= needed) return undefined;
  return (
    `OpsConductor may have ${allowed} files and connections open at a time, and needs ${needed} at least, more with many agents ` +
    'and readers. Raise the limit: ulimit -n 4096 in this shell, LimitNOFILE=4096 in a systemd unit, --ulimit nofile=4096 of a ' +
    'container.'
  );
}
