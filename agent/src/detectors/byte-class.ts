// Sets of bytes, and runs of bytes of a set.

/** For each byte value, 1 if it is in the set. */
export type ByteClass = Uint8Array;

/** @param members bytes and ranges of bytes, for example `A-Z0-9_-`; a `-` at the end stands for itself. */
export function byteClass(members: string): ByteClass {
  const set = new Uint8Array(256);
  for (let at = 0; at < members.length; at++) {
    const isRange = members[at + 1] === '-' && at + 2 < members.length;
    const [first, last] = [members.charCodeAt(at), members.charCodeAt(isRange ? at + 2 : at)];
    set.fill(1, first, last + 1);
    if (isRange) at += 2;
  }
  return set;
}

/** Returns where the run of these bytes that begins at `from` ends. Does not look beyond `to`. */
export function runEnd(data: Buffer, from: number, set: ByteClass, to: number): number {
  const end = Math.min(to, data.length);
  let at = from;
  while (at < end && set[data[at] as number] === 1) at += 1;
  return at;
}

/** Whether one of these bytes is in the data, from `from` (inclusive) to `to` (exclusive). */
export function hasAny(data: Buffer, from: number, to: number, set: ByteClass): boolean {
  for (let at = from; at < to; at++) if (set[data[at] as number] === 1) return true;
  return false;
}
