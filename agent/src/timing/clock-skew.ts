// Whether the clock of this machine and the server's differ so much that something goes wrong because of it.

/** More than an answer takes on any network, and less than the five minutes that grants allow for. */
const maxClockSkewMs = 60_000;

/** Words a difference, for before the other clock: `7200 s ahead of`. Undefined if it is no reason to worry. */
export function describeClockSkew(aheadMs: number): string | undefined {
  if (Math.abs(aheadMs) <= maxClockSkewMs) return undefined;
  return `${Math.abs(Math.round(aheadMs / 1_000))} s ${aheadMs > 0 ? 'ahead of' : 'behind'}`;
}
