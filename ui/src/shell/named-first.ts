/**
 * Returns the things with those first that are named so: whose name is the text, then whose name begins with it, then
 * whose name contains it. Otherwise their order stays.
 */
export function namedFirst<T extends { name: string }>(things: readonly T[], text: string): T[] {
  const wanted = text.toLowerCase();
  const place = ({ name }: T) => {
    const lower = name.toLowerCase();
    if (lower === wanted) return 0;
    if (lower.startsWith(wanted)) return 1;
    return lower.includes(wanted) ? 2 : 3;
  };
  return things.toSorted((a, b) => place(a) - place(b));
}
