// The thread in which inventories are read: uploads may be large or hostile, and agents must not wait for them.
import { parentPort, workerData } from 'node:worker_threads';
import { readInventory } from './read-inventory.ts';

const { format, files, options } = workerData as {
  format: Parameters<typeof readInventory>[0];
  files: Parameters<typeof readInventory>[1];
  options: Parameters<typeof readInventory>[2];
};
parentPort?.postMessage(readInventory(format, files, options));
