// V8 counts memory outside its heap towards the next full collection, and each packet of a target's output comes in
// two new pieces of it. Left alone it collects every 6 MB of output, which took a third of the agent's time.
import { setFlagsFromString } from 'node:v8';

/**
 * The next full collection comes when the heap has grown by this much, in percent of what was live: as a rule, while files are
 * moved, and while many are.
 */
const growthPercent = { wide: 400, files: 150, manyFiles: 50 } as const;

let mayGrow = false;
const held: number[] = [];

/** Lets garbage be for longer: some 50 MB of memory for a third less work under fast output. */
export function letHeapGrow(): void {
  mayGrow = true;
  setGrowth();
}

/**
 * Has garbage collected sooner, until what this returns is called: files that are moved leave much that lives just long
 * enough to be taken for lasting.
 */
export function keepHeapSmall(during: 'files' | 'manyFiles'): () => void {
  const percent = growthPercent[during];
  held.push(percent);
  setGrowth();
  return () => {
    held.splice(held.indexOf(percent), 1);
    setGrowth();
  };
}

function setGrowth(): void {
  if (mayGrow) setFlagsFromString(`--heap-growing-percent=${Math.min(growthPercent.wide, ...held)}`);
}
