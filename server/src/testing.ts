/** Does the work and counts the turns of the event loop that other work gets meanwhile. */
export async function turnsDuring<T>(work: () => Promise<T>): Promise<{ result: T; turns: number }> {
  let turns = 0;
  let isDone = false;
  const other = () => {
    turns += 1;
    if (!isDone) setImmediate(other);
  };
  setImmediate(other);
  try {
    const result = await work();
    return { result, turns };
  } finally {
    isDone = true;
  }
}
