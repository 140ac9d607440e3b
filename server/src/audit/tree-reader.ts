// Computes hashes of any part of the stored tree from few rows: every fourth level is stored completely.
import {
  consistencyRanges,
  Frontier,
  foldHashes,
  type Hash,
  inclusionRanges,
  nodeHash,
  type Range,
  type Subtree,
  subtreesOf,
} from '@opsconductor/protocol/audit';
import { type NodeRange, readNodeRanges } from '../store/audit/audit-seals.ts';
import type { Queryable } from '../store/database/connection.ts';

/** Levels whose nodes are stored: 4, 8, … */
export const storedEvery = 4;
const maxRangesPerQuery = 2_000;

/** A stored hash is missing: the tables of the seal were altered. */
export class TreeDamaged extends Error {
  constructor(what: string) {
    super(`the stored tree of the audit log is damaged: ${what}`);
    this.name = 'TreeDamaged';
  }
}

/**
 * Returns the right edge of the stored tree at a size.
 * @throws {TreeDamaged}
 */
export async function readFrontier(sql: Queryable, size: number): Promise<Frontier> {
  const subtrees = subtreesOf(0, size);
  const hashes = await readSubtrees(sql, subtrees);
  return new Frontier(
    size,
    subtrees.map((subtree) => hashes.get(keyOf(subtree)) ?? Buffer.alloc(0)),
  );
}

/**
 * Returns the proof that the tree of size `second` only adds to that of size `first`.
 * @throws {TreeDamaged}
 */
export async function consistencyProof(sql: Queryable, first: number, second: number): Promise<Hash[]> {
  if (first === 0 || first === second) return [];
  const [proof] = await proofs(sql, [consistencyRanges(first, second)]);
  return proof ?? [];
}

/**
 * Returns the proofs that the rows at these positions are in the tree of that size.
 * @throws {TreeDamaged}
 */
export async function inclusionProofs(
  sql: Queryable,
  positions: readonly number[],
  size: number,
): Promise<Hash[][]> {
  return proofs(
    sql,
    positions.map((position) => inclusionRanges(position, size)),
  );
}

async function proofs(sql: Queryable, wanted: readonly Range[][]): Promise<Hash[][]> {
  const subtrees = new Map<string, Subtree>();
  for (const [from, to] of wanted.flat())
    for (const subtree of subtreesOf(from, to)) subtrees.set(keyOf(subtree), subtree);
  const hashes = await readSubtrees(sql, [...subtrees.values()]);
  const hashOf = ([from, to]: Range) =>
    foldHashes(subtreesOf(from, to).map((subtree) => hashes.get(keyOf(subtree)) ?? Buffer.alloc(0)));
  return wanted.map((ranges) => ranges.map(hashOf));
}

async function readSubtrees(sql: Queryable, subtrees: readonly Subtree[]): Promise<Map<string, Hash>> {
  const found = new Map<string, Hash>();
  for (let at = 0; at < subtrees.length; at += maxRangesPerQuery) {
    const some = subtrees.slice(at, at + maxRangesPerQuery);
    const rows = await readNodeRanges(sql, some.map(storedRange));
    for (const [i, subtree] of some.entries()) {
      const hashes = rows[i] ?? [];
      if (hashes.length !== 2 ** (subtree.level % storedEvery))
        throw new TreeDamaged(`hashes are missing at level ${subtree.level}, index ${subtree.index}`);
      found.set(keyOf(subtree), combine(hashes));
    }
  }
  return found;
}

function storedRange({ level, index }: Subtree): NodeRange {
  const count = 2 ** (level % storedEvery);
  return { level: level - (level % storedEvery), from: index * count, to: (index + 1) * count };
}

/** Returns the root over a number of hashes that is a power of two. */
function combine(hashes: readonly Hash[]): Hash {
  let row = [...hashes];
  while (row.length > 1) {
    const above: Hash[] = [];
    for (let i = 0; i + 1 < row.length; i += 2)
      above.push(nodeHash(row[i] ?? Buffer.alloc(0), row[i + 1] ?? Buffer.alloc(0)));
    row = above;
  }
  return row[0] ?? Buffer.alloc(0);
}

function keyOf({ level, index }: Subtree): string {
  return `${level}/${index}`;
}
