// V8 counts memory outside its heap towards the next full collection, and each packet of a target's output comes in two
// new pieces of it. Left alone it collects every 6 MB of output, which took a third of the agent's time.
import { availableParallelism } from 'node:os';
import { PerformanceObserver } from 'node:perf_hooks';
import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8';

/** The next full collection comes when the heap has grown by this much, in percent of what was live. */
const growthPercent = 400;
/**
 * While files are moved, and while many are, the collection begins sooner: at this percentage of that growth. The
 * growth limit itself can't be changed for this, because V8 computes it at the end of a collection for the time until
 * the next one, so a change would take effect one collection late.
 */
const beginPercent = { files: 35, manyFiles: 20 } as const;
/** Size of each half of the young generation from which on it is no longer doubled. V8 would go on to 16 MB. */
const youngBytes = 3 * 1024 * 1024;

let mayGrow = false;
const held: number[] = [];

/** Lets garbage live longer: about 50 MB more memory for a third less work under fast output. */
export function letHeapGrow(): void {
  mayGrow = true;
  setFlagsFromString(`--heap-growing-percent=${growthPercent}`);
  // Several threads that mark would take both processors from what the agent is doing, and from whatever else runs there.
  if (availableParallelism() <= 2) setFlagsFromString('--concurrent-marking-max-worker-num=1');
  setBegin();
  boundYoungGeneration();
  // Collections enlarge the young generation, and shrink it when little is going on.
  new PerformanceObserver(boundYoungGeneration).observe({ entryTypes: ['gc'] });
}

/**
 * Makes collections begin sooner until the returned function is called: moving files leaves many objects that live just
 * long enough to be taken for long-lived ones.
 */
export function keepHeapSmall(during: 'files' | 'manyFiles'): () => void {
  const percent = beginPercent[during];
  held.push(percent);
  setBegin();
  return () => {
    held.splice(held.indexOf(percent), 1);
    setBegin();
  };
}

/**
 * Stops the young generation from growing beyond `youngBytes`. Its maximum can be set only on node's command line, but
 * whether it grows can be changed at run time. One turn of the event loop may contain several collections, which the
 * observer hears of only afterwards, so code that creates much garbage in a turn calls this itself.
 */
export function boundYoungGeneration(): void {
  const young = getHeapSpaceStatistics().find(({ space_name }) => space_name === 'new_space');
  if (!mayGrow || young === undefined) return;
  const bytes = young.space_used_size + young.space_available_size;
  setFlagsFromString(`--semi-space-growth-factor=${bytes < youngBytes ? 2 : 1}`);
}

function setBegin(): void {
  // 0: begin where V8 considers it right.
  const percent = held.length === 0 ? 0 : Math.min(...held);
  if (mayGrow) setFlagsFromString(`--incremental-marking-hard-trigger=${percent}`);
}
