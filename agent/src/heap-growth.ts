// V8 counts memory outside its heap towards the next full collection, and each packet of a target's output comes in
// two new pieces of it. Left alone it collects every 6 MB of output, which took a third of the agent's time.
import { setFlagsFromString } from 'node:v8';

/** The next full collection comes when the heap has grown by this much, in percent of what was live. */
const growthPercent = { wide: 400, narrow: 50 } as const;

let mayGrow = false;
let narrowing = 0;

/** Lets garbage be for longer: some 50 MB of memory for a third less work under fast output. */
export function letHeapGrow(): void {
  mayGrow = true;
  setGrowth();
}

/**
 * Has garbage collected sooner, until what this returns is called: files that are moved leave much that lives just long
 * enough to be taken for lasting.
 */
export function keepHeapSmall(): () => void {
  narrowing += 1;
  setGrowth();
  return () => {
    narrowing -= 1;
    setGrowth();
  };
}

function setGrowth(): void {
  if (!mayGrow) return;
  setFlagsFromString(`--heap-growing-percent=${narrowing > 0 ? growthPercent.narrow : growthPercent.wide}`);
}
