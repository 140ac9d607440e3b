// Ports for test servers that need the same port again after a restart.
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';

// Below the range from which the kernel assigns ports: while a server is down, its port could otherwise be taken.
// Parallel processes use separate ranges.
const first = 10_240;
const perWorker = 2_000;
const ranges = 11;
const range = first + (Number(process.env.VITEST_POOL_ID ?? process.pid) % ranges) * perWorker;
let next = randomInt(perWorker);

/** Returns a port that nobody listens on, and that this process has not returned before. */
export async function freePort(host = '127.0.0.1'): Promise<number> {
  for (let tried = 0; tried < perWorker; tried += 1) {
    const port = range + next;
    next = (next + 1) % perWorker;
    if (await isFree(host, port)) return port;
  }
  throw new Error(`somebody listens on each port from ${range} on`);
}

async function isFree(host: string, port: number): Promise<boolean> {
  const probe = createServer();
  try {
    await once(probe.listen(port, host), 'listening');
  } catch {
    return false;
  }
  probe.close();
  await once(probe, 'close');
  return true;
}
