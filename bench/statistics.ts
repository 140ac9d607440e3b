// Medians and percentiles of samples, and ratios of pairs: absolute times drift with other load, ratios don't.

export function percentile(samples: readonly number[], p: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * p) / 100))] ?? Number.NaN;
}

export function median(samples: readonly number[]): number {
  return percentile(samples, 50);
}

/** Returns the median of ours/theirs over pairs that were measured right after each other. */
export function medianRatio(pairs: readonly { ours: number; theirs: number }[]): number {
  return median(pairs.map((pair) => pair.ours / pair.theirs));
}
