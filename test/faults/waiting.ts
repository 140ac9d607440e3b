// Waiting in the harness, and ending what it waits for.
const waitMs = 60_000;

export async function until(what: string, holds: () => Promise<boolean>, timeoutMs = waitMs): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  let last: unknown;
  for (;;) {
    const isThere = await holds().catch((error: unknown) => {
      last = error;
      return false;
    });
    if (isThere) return;
    if (performance.now() > deadline)
      throw new Error(`not within ${timeoutMs / 1000} s: ${what}`, { cause: last });
    await pause(100);
  }
}

/** Retries for a while if it fails: a connection of the harness may have been broken by its own faults. */
export async function patiently<T>(work: () => Promise<T>, tries = 20): Promise<T> {
  for (let left = tries; ; left -= 1) {
    try {
      return await work();
    } catch (error) {
      if (left <= 1) throw error;
      await pause(250);
    }
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}

export function signalPid(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has ended in the meantime.
  }
}

export function fail(why: string): never {
  throw new Error(why);
}
