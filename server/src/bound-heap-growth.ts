// V8 collects when its heap is several times as large as what is live. Streamed output passes through the heap as
// strings by the hundred megabytes, so that is room for garbage, not for work.
import { setFlagsFromString } from 'node:v8';

/** The next full collection comes when the heap has grown by this much, in percent of what was live. */
const growthPercent = 45;

/** Holds a server that streams large outputs under 300 MB, with some 15 MB to spare; less room costs it time. */
export function boundHeapGrowth(): void {
  setFlagsFromString(`--heap-growing-percent=${growthPercent}`);
}
