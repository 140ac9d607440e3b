// How wide and high the matrix draws its cells.
import type { Host } from '../../../state/runs/run-hosts.svelte.ts';
import { fixedWindow, type RowWindow } from '../../../ui/rows/virtual-window.ts';

export interface MatrixLayout {
  /** Cells show only their glyph, and heads only the step's number. */
  narrow: boolean;
  rowPx: number;
  namePx: number;
  cellPx: number;
  /** Value of `grid-template-columns`. */
  template: string;
  minWidthPx: number;
}

/** A 12 px monospace character. */
const characterPx = 7.25;
/** The row's padding on both sides of a name. */
const besideNamePx = 38;
const timePx = 66;
const maxColumnPx = 60;
/** Room for `credential bounds`, beside the glyph. */
const maxWordsPx = 150;
/** Room for `1:03:27`, beside the glyph. */
const timesPx = 88;
/** Room for `12:34`, beside the glyph. */
const shortTimesPx = 68;
const leastNamePx = 140;
/** Where there is little room. */
const shortNamePx = 108;

/** `widthPx`: of the matrix; 0 until known. */
export function matrixLayout(
  hosts: readonly Host[],
  screen: { steps: number; isSmall: boolean; isCoarse: boolean; widthPx: number },
): MatrixLayout {
  const { steps, isSmall, isCoarse, widthPx } = screen;
  const longest = hosts.reduce((most, { targetRun }) => Math.max(most, targetRun.targetName.length), 0);
  // As beside the output in a window of middle width.
  const isTight =
    !isSmall && steps <= 5 && widthPx > 0 && widthPx < leastNamePx + steps * shortTimesPx + timePx;
  const least = isSmall || isTight ? shortNamePx : leastNamePx;
  const namePx = Math.min(isSmall ? 164 : 276, Math.max(least, besideNamePx + characterPx * longest));
  const cellPx = isSmall ? 44 : 40;
  const narrow = isSmall || isTight || steps > 5;
  // A long name is cut before the words of the cells: its beginning still tells the host, half a time tells nothing.
  const name =
    narrow && !isTight
      ? `${namePx}px`
      : `max(${least}px,min(${namePx}px,100% - ${steps * (isTight ? cellPx : timesPx) + timePx}px))`;
  return {
    narrow,
    rowPx: isSmall || isCoarse ? 44 : 26,
    namePx,
    cellPx,
    template: isSmall
      ? `minmax(${namePx}px,1fr) repeat(${steps},${cellPx}px) ${timePx}px`
      : `${name} repeat(${steps},minmax(${cellPx}px,${narrow ? maxColumnPx : maxWordsPx}px)) minmax(${timePx}px,1fr)`,
    minWidthPx: (narrow && !isTight ? namePx : least) + steps * cellPx + timePx,
  };
}

/** With more steps than this, only those in view are drawn: a hundred steps by forty rows are too many cells. */
const maxStepsDrawn = 20;

/** Returns the steps to draw at a horizontal scroll position. */
export function stepsInView(
  { namePx, cellPx }: Pick<MatrixLayout, 'namePx' | 'cellPx'>,
  view: { steps: number; scrollLeft: number; widthPx: number },
): RowWindow {
  const { steps, scrollLeft, widthPx } = view;
  if (steps <= maxStepsDrawn) return { first: 0, last: steps };
  const rowPx = Math.max(cellPx, Math.min(maxColumnPx, (widthPx - namePx - timePx) / steps));
  return fixedWindow({ scrollTop: scrollLeft, viewportPx: widthPx, rowPx, count: steps, overscan: 4 });
}
