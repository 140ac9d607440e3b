import { expect, it } from 'vitest';
import { matrixLayout, stepsInView } from './matrix-layout.ts';
import { host } from './testing.ts';

const wide = { steps: 4, isSmall: false, isCoarse: false, widthPx: 608 };
const named = (targetName: string) => {
  const one = host(1, 'running');
  return { ...one, targetRun: { ...one.targetRun, targetName } };
};

it('names get the room that the longest one needs, within limits', () => {
  expect(matrixLayout([], wide).namePx).toBe(140);
  expect(matrixLayout([named('a'), named('core-web-01.example.net')], wide).namePx).toBe(38 + 23 * 7.25);
  expect(matrixLayout([named('x'.repeat(200))], wide).namePx).toBe(276);
  expect(matrixLayout([named('x'.repeat(200))], { ...wide, isSmall: true }).namePx).toBe(164);
});

it('a long name is cut before the times in the cells are', () => {
  const { template, minWidthPx } = matrixLayout([named('x'.repeat(200))], wide);
  expect(template).toMatch(/^max\(140px,min\(276px,100% - 418px\)\) /);
  expect(minWidthPx).toBe(140 + 4 * 40 + 66);
  expect(matrixLayout([named('x'.repeat(200))], { ...wide, steps: 6 }).template).toMatch(/^276px /);
});

it('cells show only glyphs on a small screen or with many steps, and rows can be hit with a finger', () => {
  expect(matrixLayout([], wide)).toMatchObject({ narrow: false, rowPx: 26 });
  expect(matrixLayout([], { ...wide, steps: 6 })).toMatchObject({ narrow: true, rowPx: 26 });
  expect(matrixLayout([], { ...wide, isCoarse: true })).toMatchObject({ narrow: false, rowPx: 44 });
  expect(matrixLayout([], { ...wide, isSmall: true })).toMatchObject({ narrow: true, rowPx: 44, cellPx: 44 });
});

it('cells show only glyphs where times would be cut, and names give way before the steps leave the view', () => {
  const tight = { ...wide, widthPx: 343 };
  expect(matrixLayout([named('core-web-01')], tight)).toMatchObject({
    narrow: true,
    minWidthPx: 108 + 160 + 66,
  });
  expect(matrixLayout([named('core-web-01')], tight).template).toMatch(
    /^max\(108px,min\(117\.75px,100% - 226px\)\) /,
  );
  expect(matrixLayout([], { ...tight, steps: 2 })).toMatchObject({ narrow: false });
  // Not before it is known.
  expect(matrixLayout([], { ...tight, widthPx: 0 })).toMatchObject({ narrow: false });
});

it('of a hundred steps only those in view and a few beside them are drawn', () => {
  const layout = { namePx: 140, cellPx: 40 };
  expect(stepsInView(layout, { steps: 20, scrollLeft: 0, widthPx: 300 })).toEqual({ first: 0, last: 20 });
  expect(stepsInView(layout, { steps: 100, scrollLeft: 400, widthPx: 400 })).toEqual({ first: 6, last: 24 });
});
