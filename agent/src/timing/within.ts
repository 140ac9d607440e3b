/** Resolves with the promise's value, or with undefined if the time is up first. Without a promise it only waits. */
export function within<T>(ms: number, promise: Promise<T> | undefined): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => resolve(undefined), ms);
    promise?.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
