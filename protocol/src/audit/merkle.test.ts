import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Frontier, foldHashes, type Hash, leafHash, nodeHash, subtreesOf } from './merkle.ts';
import {
  consistencyRanges,
  inclusionRanges,
  provesConsistency,
  provesInclusion,
  type Range,
} from './merkle-proof.ts';

/** The leaves and roots in the tests of other RFC 6962 implementations. */
const leaves = [
  '',
  '00',
  '10',
  '2021',
  '3031',
  '40414243',
  '5051525354555657',
  '606162636465666768696a6b6c6d6e6f',
];
const roots = [
  '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
  'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
  'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
  'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
  '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
  '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
  'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
  '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
];

/** MTH of RFC 9162 section 2.1.1, exactly as defined. */
function treeHash(hashes: readonly Hash[]): Hash {
  const [only] = hashes;
  if (only === undefined) return foldHashes([]);
  if (hashes.length === 1) return only;
  let k = 1;
  while (k * 2 < hashes.length) k *= 2;
  return nodeHash(treeHash(hashes.slice(0, k)), treeHash(hashes.slice(k)));
}

const manyLeaves = Array.from({ length: 300 }, (_, i) => leafHash(`row ${i}`));
const rangeHash = ([from, to]: Range) => treeHash(manyLeaves.slice(from, to));
const treeOf = (size: number) => ({ size, root: rangeHash([0, size]) });

describe('the tree', () => {
  it('has the roots that other implementations of RFC 6962 have', () => {
    const frontier = new Frontier();
    const found = leaves.map((leaf) => {
      frontier.append(leafHash(Buffer.from(leaf, 'hex')));
      return frontier.root.toString('hex');
    });
    expect(found).toEqual(roots);
  });

  it('reports each perfect subtree once, with its hash', () => {
    const frontier = new Frontier();
    const seen: string[] = [];
    for (const leaf of manyLeaves.slice(0, 100)) {
      frontier.append(leaf, ({ level, index }, hash) => {
        seen.push(`${level}/${index}`);
        expect(hash).toEqual(rangeHash([index * 2 ** level, (index + 1) * 2 ** level]));
      });
    }
    expect(new Set(seen).size).toBe(seen.length);
    expect(seen).toHaveLength(50 + 25 + 12 + 6 + 3 + 1);
  });

  it('continues from the subtrees of any size', () => {
    for (let size = 0; size < 70; size++) {
      const hashes = subtreesOf(0, size).map(({ level, index }) =>
        rangeHash([index * 2 ** level, (index + 1) * 2 ** level]),
      );
      const frontier = new Frontier(size, hashes);
      expect(frontier.root).toEqual(treeOf(size).root);
      frontier.append(manyLeaves[size] ?? Buffer.alloc(0));
      expect(frontier.root).toEqual(treeOf(size + 1).root);
    }
  });

  it('splits leaves into subtrees without overlap, also beyond 32 bits', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 2 ** 50 }),
        fc.integer({ min: 0, max: 2 ** 40 }),
        (from, length) => {
          let at = from;
          for (const { level, index } of subtreesOf(from, from + length)) {
            expect(index * 2 ** level).toBe(at);
            at += 2 ** level;
          }
          expect(at).toBe(from + length);
        },
      ),
    );
  });
});

describe('a proof', () => {
  it('of inclusion holds for each leaf of each size, and for no other position or leaf', () => {
    for (let size = 1; size <= 40; size++) {
      for (let position = 0; position < size; position++) {
        const proof = inclusionRanges(position, size).map(rangeHash);
        const leaf = manyLeaves[position] ?? Buffer.alloc(0);
        expect(provesInclusion(leaf, position, treeOf(size), proof)).toBe(true);
        expect(provesInclusion(leafHash('other'), position, treeOf(size), proof)).toBe(false);
        for (const other of [position - 1, position + 1, size])
          expect(provesInclusion(leaf, other, treeOf(size), proof)).toBe(false);
      }
    }
  });

  it('of consistency holds between any two sizes, and for no other root', () => {
    for (let second = 1; second <= 40; second++) {
      for (let first = 1; first <= second; first++) {
        const proof = first === second ? [] : consistencyRanges(first, second).map(rangeHash);
        expect(provesConsistency(treeOf(first), treeOf(second), proof)).toBe(true);
        const forked = { size: first, root: leafHash('another past') };
        expect(provesConsistency(forked, treeOf(second), proof)).toBe(false);
        expect(provesConsistency(treeOf(first), { size: second, root: forked.root }, proof)).toBe(false);
        if (first < second) expect(provesConsistency(treeOf(second), treeOf(first), proof)).toBe(false);
        expect(provesConsistency(treeOf(first), treeOf(second), [...proof, forked.root])).toBe(false);
      }
    }
  });

  it('has the ranges of the examples in RFC 9162 section 2.1.5', () => {
    expect(inclusionRanges(0, 7)).toEqual([
      [1, 2],
      [2, 4],
      [4, 7],
    ]);
    expect(inclusionRanges(6, 7)).toEqual([
      [4, 6],
      [0, 4],
    ]);
    expect(consistencyRanges(3, 7)).toEqual([
      [2, 3],
      [3, 4],
      [0, 2],
      [4, 7],
    ]);
    expect(consistencyRanges(4, 7)).toEqual([[4, 7]]);
    expect(consistencyRanges(6, 7)).toEqual([
      [4, 6],
      [6, 7],
      [0, 4],
    ]);
  });
});
