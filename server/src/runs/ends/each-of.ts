/**
 * Runs the functions one after the other. One that fails doesn't keep the others from running; failures are thrown at
 * the end.
 */
export async function eachOf(works: readonly (() => Promise<void>)[]): Promise<void> {
  const failures: unknown[] = [];
  for (const work of works) await work().catch((error) => failures.push(error));
  if (failures.length === 1) throw failures[0];
  if (failures.length > 1) throw new AggregateError(failures, `${failures.length} parts of the work failed`);
}

/** Does the work for all items at once or, if that fails, for each: one that fails doesn't keep the others from it. */
export async function allOrEach<T>(
  items: readonly T[],
  work: (items: readonly T[]) => Promise<void>,
): Promise<void> {
  if (items.length === 0) return;
  try {
    await work(items);
  } catch (error) {
    if (items.length === 1) throw error;
    await eachOf(items.map((item) => () => work([item])));
  }
}
