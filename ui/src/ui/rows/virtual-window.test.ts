import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  fixedWindow,
  maxSpacerPx,
  placeBlock,
  rowAtScroll,
  scrollOfRow,
  scrollToSpan,
  spacerPx,
  windowAround,
} from './virtual-window.ts';

describe('a list of rows of one height', () => {
  it('draws what is in view and a few rows around it', () => {
    expect(fixedWindow({ scrollTop: 260, viewportPx: 100, rowPx: 26, count: 1000, overscan: 3 })).toEqual({
      first: 7,
      last: 17,
    });
  });

  it('stays within the existing rows, even if scrolled past the end or bounced above the top', () => {
    expect(fixedWindow({ scrollTop: 99_999, viewportPx: 100, rowPx: 26, count: 10, overscan: 3 })).toEqual({
      first: 7,
      last: 10,
    });
    expect(fixedWindow({ scrollTop: -50, viewportPx: 100, rowPx: 26, count: 2, overscan: 3 })).toEqual({
      first: 0,
      last: 2,
    });
    expect(fixedWindow({ scrollTop: 0, viewportPx: 100, rowPx: 26, count: 0, overscan: 3 })).toEqual({
      first: 0,
      last: 0,
    });
  });

  it('scrolls no further than necessary to show a row', () => {
    const view = { scroll: 100, viewportPx: 100 };
    expect(scrollToSpan({ ...view, from: 120, to: 140 })).toBe(100);
    expect(scrollToSpan({ ...view, from: 40, to: 60 })).toBe(40);
    expect(scrollToSpan({ ...view, from: 400, to: 420 })).toBe(320);
  });

  it('shows the beginning of what is larger than the view, and never scrolls to a negative position', () => {
    expect(scrollToSpan({ scroll: 0, viewportPx: 100, from: 300, to: 500 })).toBe(300);
    expect(scrollToSpan({ scroll: 50, viewportPx: 100, from: -20, to: 10 })).toBe(0);
  });
});

describe('a list of lines of any height', () => {
  const list = { rowPx: 18, viewportPx: 600 };

  it('never claims more height than a browser can lay out', () => {
    expect(spacerPx(100, 18)).toBe(1800);
    expect(spacerPx(50_000_000, 18)).toBe(maxSpacerPx);
  });

  it('maps the scroll position of every row of a huge list back to that row, to within one screen', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 100, max: 50_000_000 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (count, share) => {
          const geometry = { ...list, count };
          const row = Math.floor(share * (count - 600 / 18));
          const found = rowAtScroll(scrollOfRow(row, geometry), geometry);
          expect(Math.abs(found - row)).toBeLessThanOrEqual(1);
        },
      ),
    );
  });

  it('reaches the first and the last row', () => {
    const geometry = { ...list, count: 3_000_000 };
    expect(rowAtScroll(0, geometry)).toBe(0);
    const last = rowAtScroll(spacerPx(3_000_000, 18) - 600, geometry);
    expect(windowAround(last, { ...geometry, overscan: 10 }).last).toBe(3_000_000);
  });

  it('shows a short list whole, at its real height', () => {
    expect(
      placeBlock({
        ...list,
        window: { first: 0, last: 20 },
        count: 20,
        blockPx: 420,
        anchorRow: 0,
        anchorPx: 0,
      }),
    ).toEqual({ top: 0, spacer: 420 });
  });

  it('leaves no blank above the first row or below the last', () => {
    const count = 100_000;
    const start = placeBlock({
      ...list,
      window: { first: 0, last: 80 },
      count,
      blockPx: 3000,
      anchorRow: 9,
      anchorPx: 500,
    });
    expect(start.top).toBe(0);
    const end = placeBlock({
      ...list,
      window: { first: count - 80, last: count },
      count,
      blockPx: 3000,
      anchorRow: count - 60,
      anchorPx: 700,
    });
    expect(end.top + 3000).toBe(end.spacer);
  });

  it('leaves room to scroll in both directions anywhere in between', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 41, max: 99_000 }),
        fc.integer({ min: 1500, max: 9000 }),
        (row, blockPx) => {
          const count = 100_000;
          const window = { first: row - 40, last: row + 74 };
          const placed = placeBlock({
            ...list,
            window,
            count,
            blockPx,
            anchorRow: row,
            anchorPx: blockPx / 3,
          });
          expect(placed.top).toBeGreaterThan(0);
          expect(placed.top + blockPx).toBeLessThan(placed.spacer);
        },
      ),
    );
  });
});
