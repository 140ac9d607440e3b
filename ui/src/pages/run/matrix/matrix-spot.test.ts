import { expect, it } from 'vitest';
import { load } from '../../../state/testing.ts';
import type { MatrixView } from './matrix-spot.svelte.ts';
import { group, rowsOf } from './testing.ts';

const { MatrixSpot } = await load<typeof import('./matrix-spot.svelte.ts')>(
  'pages/run/matrix/matrix-spot.svelte.ts',
);

const key = (name: string, more: object = {}) => ({
  key: name,
  ctrlKey: false,
  metaKey: false,
  altKey: false,
  shiftKey: false,
  ...more,
});

/** Rows: 0 `failed`, 1 host 1, 2 `running`, 3 to 22 hosts 2 to 21; host 2 is selected. */
function setup() {
  const ids = Array.from({ length: 20 }, (_, at) => at + 2);
  const view: MatrixView = {
    rows: rowsOf([group('failed', [1]), group('running', ids)]),
    steps: 4,
    hostId: 2,
    firstVisible: 0,
    lastVisible: 9,
  };
  return { view, spot: new MatrixSpot(() => view) };
}

it('Tab leads to the selected host, or to the first row in view if that host is out of view', () => {
  const { view, spot } = setup();
  expect(spot.stop).toEqual({ at: 3, column: 0 });
  view.firstVisible = 8;
  view.lastVisible = 17;
  expect(new MatrixSpot(() => view).stop).toEqual({ at: 8, column: 0 });
});

it('arrow keys go on from where they led, within the rows and steps that there are', () => {
  const { spot } = setup();
  expect(spot.move(key('ArrowRight'), true)).toEqual({ at: 3, column: 1 });
  expect(spot.move(key('ArrowRight'), true)).toEqual({ at: 3, column: 2 });
  expect(spot.move(key('ArrowDown'), true)).toEqual({ at: 4, column: 2 });
  expect(spot.move(key('PageDown'), true)).toEqual({ at: 14, column: 2 });
  expect(spot.move(key('PageDown'), true)).toEqual({ at: 22, column: 2 });
  for (let press = 0; press < 9; press += 1) spot.move(key('ArrowRight'), true);
  expect(spot.move(key('ArrowRight'), true)).toEqual({ at: 22, column: 4 });
});

it('a heading has one cell, and the column is kept for the host after it', () => {
  const { spot } = setup();
  spot.arrive({ at: 3, column: 2 });
  expect(spot.move(key('ArrowUp'), true)).toEqual({ at: 2, column: 0 });
  // The heading gets the focus, which must not forget the column.
  spot.arrive({ at: 2, column: 0 });
  expect(spot.move(key('ArrowUp'), true)).toEqual({ at: 1, column: 2 });
});

it('other keys and chords move nothing', () => {
  const { spot } = setup();
  expect(spot.move(key('Enter'), true)).toBeUndefined();
  expect(spot.move(key('ArrowDown', { ctrlKey: true }), true)).toBeUndefined();
  expect(spot.stop).toEqual({ at: 3, column: 0 });
});

it('a key in the pinned heading starts from the row that Tab leads to', () => {
  const { spot } = setup();
  spot.arrive({ at: 20, column: 1 });
  expect(spot.move(key('ArrowDown'), false)).toEqual({ at: 1, column: 1 });
});

it('follows its host when rows change places, and forgets it when told to', () => {
  const { view, spot } = setup();
  spot.arrive({ at: 5, column: 3 });
  const stays = spot.stays();
  view.rows = rowsOf([group('running', [4, 2, 3])]);
  expect(spot.move(key('ArrowDown'), true)).toEqual({ at: 2, column: 3 });
  expect(stays()).toBe(false);
  spot.leave();
  expect(new MatrixSpot(() => view).stop).toEqual({ at: 2, column: 0 });
});
