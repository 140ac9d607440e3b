// Which cell of the matrix the keyboard is at. Only one can be reached by Tab, and arrow keys lead to the others;
// otherwise each cell of a hundred hosts would be a tab stop.
import type { RunStatus } from '@opsconductor/protocol';
import { type MatrixRow, rowKey } from './matrix-rows.ts';

/** What the matrix shows now. */
export interface MatrixView {
  rows: readonly MatrixRow[];
  steps: number;
  /** Target run that is selected. */
  hostId: number | undefined;
  firstVisible: number;
  lastVisible: number;
}
/** Index of a row, and column 0 for the name or the number of a step. */
export interface Place {
  at: number;
  column: number;
}

const pageRows = 10;
const ways: Readonly<Record<string, readonly [rows: number, columns: number]>> = {
  ArrowDown: [1, 0],
  ArrowUp: [-1, 0],
  ArrowRight: [0, 1],
  ArrowLeft: [0, -1],
  PageDown: [pageRows, 0],
  PageUp: [-pageRows, 0],
};

type Chord = Pick<KeyboardEvent, 'key' | 'ctrlKey' | 'metaKey' | 'altKey' | 'shiftKey'>;

export class MatrixSpot {
  /** Undefined until a cell has the focus; then Tab leads to the host that is shown. */
  #spot = $state.raw<{ row: number | RunStatus; column: number }>();
  readonly #view: () => MatrixView;

  constructor(view: () => MatrixView) {
    this.#view = view;
  }

  /** The cell that Tab leads to: where the keyboard was, or the first row in view if that is out of view. */
  readonly stop: Place = $derived.by(() => {
    const { rows, hostId, firstVisible, lastVisible } = this.#view();
    const wanted = this.#spot ?? { row: hostId, column: 0 };
    const at = rows.findIndex((row) => rowKey(row) === wanted.row);
    const inSight = at < firstVisible || at > lastVisible ? Math.min(firstVisible, rows.length - 1) : at;
    return { at: inSight, column: rows[inSight]?.kind === 'host' ? wanted.column : 0 };
  });

  /**
   * Moves with an arrow or page key. Returns the cell that gets the focus; undefined for any other key.
   * @param isAmongRows Whether the key was pressed in a row, not in the head or the pinned group.
   */
  move(chord: Chord, isAmongRows: boolean): Place | undefined {
    const way = ways[chord.key];
    if (way === undefined || chord.ctrlKey || chord.metaKey || chord.altKey || chord.shiftKey)
      return undefined;
    const { rows, steps } = this.#view();
    const at = Math.max(0, Math.min(rows.length - 1, this.#origin(isAmongRows) + way[0]));
    const row = rows[at];
    if (row === undefined) return undefined;
    // A group has only one cell; keep the column for when the arrows leave it.
    const column = this.#spot?.column ?? 0;
    const next = row.kind === 'group' ? column : Math.max(0, Math.min(steps, column + way[1]));
    this.#spot = { row: rowKey(row), column: next };
    return { at, column: row.kind === 'group' ? 0 : next };
  }

  /** Notes that a cell has got the focus. */
  arrive({ at, column }: Place): void {
    const row = this.#view().rows[at];
    if (row === undefined || (row.kind === 'group' && this.#spot?.row === rowKey(row))) return;
    this.#spot = { row: rowKey(row), column };
  }

  leave(): void {
    this.#spot = undefined;
  }

  /** Returns a function that says whether the keyboard has stayed where it is now. */
  stays(): () => boolean {
    const now = this.#spot;
    return () => this.#spot === now;
  }

  /**
   * The row that keys start from, even if it is out of view: that of the last cell that they led to, which may not be
   * drawn yet.
   */
  #origin(isAmongRows: boolean): number {
    if (!isAmongRows) return this.stop.at;
    const at = this.#view().rows.findIndex((row) => rowKey(row) === this.#spot?.row);
    return at < 0 ? this.stop.at : at;
  }
}
