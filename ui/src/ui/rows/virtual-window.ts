// Arithmetic of virtual lists. Browsers fail with elements higher than some 16 million pixels, so beyond `maxSpacerPx`,
// a scroll position stands for a share of the rows instead of pixels.

export const maxSpacerPx = 8_000_000;

export interface RowWindow {
  /** First drawn row, and the one after the last. */
  first: number;
  last: number;
}

/** Rows of equal height: returns what to draw at a scroll position. */
export function fixedWindow(list: {
  scrollTop: number;
  viewportPx: number;
  rowPx: number;
  count: number;
  overscan: number;
}): RowWindow {
  const top = Math.floor(Math.max(0, list.scrollTop) / list.rowPx);
  const bottom = Math.ceil((Math.max(0, list.scrollTop) + list.viewportPx) / list.rowPx);
  const first = Math.max(0, Math.min(top, list.count) - list.overscan);
  return { first, last: Math.max(first, Math.min(list.count, bottom + list.overscan)) };
}

/** Returns where to scroll to show a part of the content: as little as necessary, preferring its beginning. */
export function scrollToSpan(view: { from: number; to: number; scroll: number; viewportPx: number }): number {
  const wanted = view.to > view.scroll + view.viewportPx ? view.to - view.viewportPx : view.scroll;
  return Math.max(0, Math.min(wanted, view.from));
}

/** Height that a list of `count` rows reserves if a row is at least `rowPx` high. */
export function spacerPx(count: number, rowPx: number): number {
  return Math.min(count * rowPx, maxSpacerPx);
}

/** Returns the row that a scroll position stands for in a list whose rows differ in height. */
export function rowAtScroll(
  scrollTop: number,
  list: { count: number; rowPx: number; viewportPx: number },
): number {
  const range = spacerPx(list.count, list.rowPx) - list.viewportPx;
  if (list.count === 0 || range <= 0) return 0;
  const share = Math.max(0, Math.min(1, scrollTop / range));
  return Math.min(list.count - 1, Math.floor(share * Math.max(0, list.count - list.viewportPx / list.rowPx)));
}

/** Returns the scroll position that stands for a row; the inverse of rowAtScroll. */
export function scrollOfRow(row: number, list: { count: number; rowPx: number; viewportPx: number }): number {
  const range = spacerPx(list.count, list.rowPx) - list.viewportPx;
  const rows = list.count - list.viewportPx / list.rowPx;
  if (range <= 0 || rows <= 0) return 0;
  return Math.max(0, Math.min(range, (row / rows) * range));
}

/**
 * Returns the rows to draw around the one at the top of the view. Each is at least `rowPx` high, so they always fill
 * the view.
 */
export function windowAround(
  row: number,
  list: { count: number; rowPx: number; viewportPx: number; overscan: number },
): RowWindow {
  const first = Math.max(0, Math.min(row, list.count) - list.overscan);
  const last = Math.min(list.count, row + Math.ceil(list.viewportPx / list.rowPx) + list.overscan);
  return { first, last: Math.max(first, last) };
}

/**
 * Returns where to put the drawn block within the spacer, and the spacer's height. At both ends of the list, the block
 * is pinned to the end; in between, it is where the scrollbar says its rows are.
 */
export function placeBlock(block: {
  window: RowWindow;
  count: number;
  rowPx: number;
  viewportPx: number;
  blockPx: number;
  /** Row at the top of the view, and how far below the block's top it begins. */
  anchorRow: number;
  anchorPx: number;
}): { top: number; spacer: number } {
  const { window, count, blockPx } = block;
  const claimed = spacerPx(count, block.rowPx);
  if (window.first === 0 && window.last >= count) return { top: 0, spacer: blockPx };
  if (window.first === 0) return { top: 0, spacer: Math.max(claimed, blockPx + block.rowPx) };
  if (window.last >= count) {
    const spacer = Math.max(claimed, blockPx + block.rowPx);
    return { top: spacer - blockPx, spacer };
  }
  const wanted = scrollOfRow(block.anchorRow, block) - block.anchorPx;
  return {
    top: Math.max(1, Math.min(wanted, claimed - blockPx - 1)),
    spacer: Math.max(claimed, blockPx + 2),
  };
}
