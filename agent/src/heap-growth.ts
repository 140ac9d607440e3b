// V8 counts memory outside its heap towards the next full collection, and each packet of a target's output comes in
// two new pieces of it. Left alone it collects every 6 MB of output, which took a third of the agent's time.
import { PerformanceObserver } from 'node:perf_hooks';
import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8';

/** The next full collection comes when the heap has grown by this much, in percent of what was live. */
const growthPercent = 400;
/**
 * While files are moved, and while many are, it begins sooner: at this much of that growth, in percent. V8 reckons the growth at
 * the end of a collection, for the time until the next one: another percentage there comes into force one collection late.
 */
const beginPercent = { files: 35, manyFiles: 10 } as const;
/** Of each half of the young generation: from then on it is not doubled any more. V8 would go on to 16 MB. */
const youngBytes = 3 * 1024 * 1024;

let mayGrow = false;
const held: number[] = [];

/** Lets garbage be for longer: some 50 MB of memory for a third less work under fast output. */
export function letHeapGrow(): void {
  mayGrow = true;
  setFlagsFromString(`--heap-growing-percent=${growthPercent}`);
  setBegin();
  boundYoungGeneration();
  // Collections make it larger, and smaller where little goes on.
  new PerformanceObserver(boundYoungGeneration).observe({ entryTypes: ['gc'] });
}

/**
 * Has garbage collected sooner, until what this returns is called: files that are moved leave much that lives just long
 * enough to be taken for lasting.
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
 * How large it may become is for the command line of node alone to set; whether it grows is not. Of what is done in one turn of
 * the event loop there may be several collections, of which nobody hears before its end: who makes much calls this meanwhile.
 */
export function boundYoungGeneration(): void {
  const young = getHeapSpaceStatistics().find(({ space_name }) => space_name === 'new_space');
  if (!mayGrow || young === undefined) return;
  const bytes = young.space_used_size + young.space_available_size;
  setFlagsFromString(`--semi-space-growth-factor=${bytes < youngBytes ? 2 : 1}`);
}

function setBegin(): void {
  // 0: where V8 reckons that it should.
  const percent = held.length === 0 ? 0 : Math.min(...held);
  if (mayGrow) setFlagsFromString(`--incremental-marking-hard-trigger=${percent}`);
}
