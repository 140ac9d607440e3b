// Loading the program alone opens more than a hundred files at a time, and each agent and reader is one more.
import { readFileSync } from 'node:fs';

const needed = 256;

/** What is wrong with the limit of open files of this process, with the fix; undefined where nothing is, or where it can't be told. */
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
