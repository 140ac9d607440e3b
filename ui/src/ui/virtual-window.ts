// Arithmetic of virtual lists. Browsers give up on elements higher than some 16 million pixels, so that beyond
// `maxSpacerPx` a scroll position stands for a share of the rows and not for pixels.

export const maxSpacerPx = 8_000_000;

export interface RowWindow {
  /** First row that is drawn, and the one after the last. */
  first: number;
  last: number;
}

/** Rows of one height: what to draw at a scroll position. */
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

/** Where to scroll so that a part of the content is in view: as little as needed, its beginning first. */
export function scrollToSpan(view: { from: number; to: number; scroll: number; viewportPx: number }): number {
  const wanted = view.to > view.scroll + view.viewportPx ? view.to - view.viewportPx : view.scroll;
  return Math.max(0, Math.min(wanted, view.from));
}

/** Height that a list of `count` rows claims when a row is at least `rowPx` high. */
export function spacerPx(count: number, rowPx: number): number {
  return Math.min(count * rowPx, maxSpacerPx);
}

/** Row that stands for a scroll position in a list whose rows differ in height. */
export function rowAtScroll(
  scrollTop: number,
  list: { count: number; rowPx: number; viewportPx: number },
): number {
  const range = spacerPx(list.count, list.rowPx) - list.viewportPx;
  if (list.count === 0 || range <= 0) return 0;
  const share = Math.max(0, Math.min(1, scrollTop / range));
  return Math.min(list.count - 1, Math.floor(share * Math.max(0, list.count - list.viewportPx / list.rowPx)));
}

/** Scroll position that stands for a row; the inverse of rowAtScroll. */
export function scrollOfRow(row: number, list: { count: number; rowPx: number; viewportPx: number }): number {
  const range = spacerPx(list.count, list.rowPx) - list.viewportPx;
  const rows = list.count - list.viewportPx / list.rowPx;
  if (range <= 0 || rows <= 0) return 0;
  return Math.max(0, Math.min(range, (row / rows) * range));
}

/** Rows to draw around one that is at the top of the view. A row is at least `rowPx` high, so these always fill it. */
export function windowAround(
  row: number,
  list: { count: number; rowPx: number; viewportPx: number; overscan: number },
): RowWindow {
  const first = Math.max(0, Math.min(row, list.count) - list.overscan);
  const last = Math.min(list.count, row + Math.ceil(list.viewportPx / list.rowPx) + list.overscan);
  return { first, last: Math.max(first, last) };
}

/**
 * Where the drawn block stands within the spacer, and the spacer's height. At either end the block is pinned to it;
 * between, it stands where the scrollbar says that its rows are.
 */
export function placeBlock(block: {
  window: RowWindow;
  count: number;
  rowPx: number;
  viewportPx: number;
  blockPx: number;
  /** Row at the top of the view and how far below the block's top it begins. */
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
