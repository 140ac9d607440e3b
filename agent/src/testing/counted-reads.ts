/** Counts how often a byte of the data is read, other than by native comparisons. */
export function countedReads(data: Buffer): { data: Buffer; reads: () => number } {
  let reads = 0;
  const counted = new Proxy(data, {
    get(bytes, name) {
      if (typeof name === 'string' && /^\d/.test(name)) reads += 1;
      const value = Reflect.get(bytes, name, bytes);
      return typeof value === 'function' ? value.bind(bytes) : value;
    },
  });
  return { data: counted, reads: () => reads };
}
