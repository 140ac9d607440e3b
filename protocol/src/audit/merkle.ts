// The Merkle tree of RFC 9162 section 2.1 over the rows of the audit log. Sizes and positions are safe integers, which
// may have more bits than shifts support, so they are halved by division.
import { createHash } from 'node:crypto';

export const hashBytes = 32;
export type Hash = Buffer;

const leafPrefix = Buffer.of(0);
const nodePrefix = Buffer.of(1);

/** Returns the hash of a leaf: SHA-256 over 0x00 and its bytes. */
export function leafHash(bytes: Uint8Array | string): Hash {
  return createHash('sha256').update(leafPrefix).update(bytes).digest();
}

/** Returns the hash of a node: SHA-256 over 0x01 and the hashes of its two children. */
export function nodeHash(left: Uint8Array, right: Uint8Array): Hash {
  return createHash('sha256').update(nodePrefix).update(left).update(right).digest();
}

/** A perfect subtree: 2^level leaves, beginning at index · 2^level. */
export interface Subtree {
  level: number;
  index: number;
}

/** Returns the perfect subtrees that make up the leaves [from, to), left to right; at most two of each level. */
export function subtreesOf(from: number, to: number): Subtree[] {
  const subtrees: Subtree[] = [];
  for (let at = from; at < to; ) {
    let level = 0;
    while (at % 2 ** (level + 1) === 0 && at + 2 ** (level + 1) <= to) level += 1;
    subtrees.push({ level, index: at / 2 ** level });
    at += 2 ** level;
  }
  return subtrees;
}

/** Returns the hash over perfect subtrees that are adjacent, beginning at the left edge of their common tree. */
export function foldHashes(hashes: readonly Uint8Array[]): Hash {
  const last = hashes.at(-1);
  if (last === undefined) return createHash('sha256').digest();
  return hashes.slice(0, -1).reduceRight<Hash>((right, left) => nodeHash(left, right), Buffer.from(last));
}

/** The right edge of a growing tree: all that is needed to append to it and to compute its root. */
export class Frontier {
  #size: number;
  readonly #hashes: Hash[];

  /** @param hashes those of `subtreesOf(0, size)`. */
  constructor(size = 0, hashes: readonly Uint8Array[] = []) {
    if (hashes.length !== subtreesOf(0, size).length) throw new Error(`a tree of ${size} has other subtrees`);
    this.#size = size;
    this.#hashes = hashes.map((hash) => Buffer.from(hash));
  }

  get size(): number {
    return this.#size;
  }

  get root(): Hash {
    return foldHashes(this.#hashes);
  }

  /** Appends a leaf. `onNode` is called for every perfect subtree that this completes, the lowest first. */
  append(leaf: Uint8Array, onNode?: (subtree: Subtree, hash: Hash) => void): void {
    let hash: Hash = Buffer.from(leaf);
    let level = 0;
    let index = this.#size;
    while (index % 2 === 1) {
      const left = this.#hashes.pop();
      if (left === undefined) throw new Error('the frontier has too few hashes');
      hash = nodeHash(left, hash);
      level += 1;
      index = (index - 1) / 2;
      onNode?.({ level, index }, hash);
    }
    this.#hashes.push(hash);
    this.#size += 1;
  }

  copy(): Frontier {
    return new Frontier(this.#size, this.#hashes);
  }
}
