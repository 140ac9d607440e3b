// Proofs of RFC 9162: that a row is in the log (section 2.1.3), and that a later log only adds to an earlier one
// (section 2.1.4). Computes the ranges of leaves whose hashes make up a proof, and verifies proofs.
import { type Hash, nodeHash } from './merkle.ts';

/** Leaves [from, to). */
export type Range = readonly [from: number, to: number];

/** PATH(position, D[size]): the ranges whose hashes prove that a leaf is in a tree, in proof order. */
export function inclusionRanges(position: number, size: number): Range[] {
  const ranges: Range[] = [];
  let [from, to] = [0, size];
  while (to - from > 1) {
    const middle = from + split(to - from);
    if (position < middle) {
      ranges.unshift([middle, to]);
      to = middle;
    } else {
      ranges.unshift([from, middle]);
      from = middle;
    }
  }
  return ranges;
}

/** PROOF(first, D[second]) for 0 < first < second: the ranges whose hashes prove that the tree only grew. */
export function consistencyRanges(first: number, second: number): Range[] {
  const ranges: Range[] = [];
  let [from, to] = [0, second];
  while (first !== to) {
    const middle = from + split(to - from);
    if (first <= middle) {
      ranges.unshift([middle, to]);
      to = middle;
    } else {
      ranges.unshift([from, middle]);
      from = middle;
    }
  }
  // If the whole first tree is a subtree of the second, the verifier already has its hash.
  return from === 0 ? ranges : [[from, to], ...ranges];
}

/** Verifies an inclusion proof (section 2.1.3.2). */
export function provesInclusion(
  leaf: Uint8Array,
  position: number,
  tree: { size: number; root: Uint8Array },
  proof: readonly Uint8Array[],
): boolean {
  if (position < 0 || position >= tree.size) return false;
  let [fn, sn] = [position, tree.size - 1];
  let hash: Uint8Array = leaf;
  for (const sibling of proof) {
    if (sn === 0) return false;
    if (fn % 2 === 1 || fn === sn) {
      hash = nodeHash(sibling, hash);
      while (fn % 2 === 0 && fn !== 0) [fn, sn] = [half(fn), half(sn)];
    } else {
      hash = nodeHash(hash, sibling);
    }
    [fn, sn] = [half(fn), half(sn)];
  }
  return sn === 0 && Buffer.compare(hash, tree.root) === 0;
}

/**
 * Verifies a consistency proof (section 2.1.4.2). Two trees of the same size are consistent if their roots are equal.
 */
export function provesConsistency(
  first: { size: number; root: Uint8Array },
  second: { size: number; root: Uint8Array },
  proof: readonly Uint8Array[],
): boolean {
  if (first.size < 1 || first.size > second.size) return false;
  if (first.size === second.size) return proof.length === 0 && Buffer.compare(first.root, second.root) === 0;
  const [start, ...rest] = isPowerOfTwo(first.size) ? [first.root, ...proof] : proof;
  if (start === undefined || proof.length === 0) return false;
  let [fn, sn] = [first.size - 1, second.size - 1];
  while (fn % 2 === 1) [fn, sn] = [half(fn), half(sn)];
  let [fr, sr]: [Hash, Hash] = [Buffer.from(start), Buffer.from(start)];
  for (const hash of rest) {
    if (sn === 0) return false;
    if (fn % 2 === 1 || fn === sn) {
      [fr, sr] = [nodeHash(hash, fr), nodeHash(hash, sr)];
      while (fn % 2 === 0 && fn !== 0) [fn, sn] = [half(fn), half(sn)];
    } else {
      sr = nodeHash(sr, hash);
    }
    [fn, sn] = [half(fn), half(sn)];
  }
  return sn === 0 && Buffer.compare(fr, first.root) === 0 && Buffer.compare(sr, second.root) === 0;
}

/** Returns the largest power of two smaller than n, for n > 1. */
function split(n: number): number {
  let power = 1;
  while (power * 2 < n) power *= 2;
  return power;
}

function isPowerOfTwo(n: number): boolean {
  return n === 1 || split(n) * 2 === n;
}

function half(n: number): number {
  return Math.floor(n / 2);
}
