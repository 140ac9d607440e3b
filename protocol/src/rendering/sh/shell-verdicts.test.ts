import { expect, test } from 'vitest';
import { ShellVerdicts } from './shell-verdicts.ts';

const holes = [
  { at: 5, label: 'A', type: 'string' as const },
  { at: 9, label: 'B', type: 'integer' as const },
];
const word = { as: 'word', mayBeOption: false, isPath: false } as const;

test('a place is refused once, and for the first reason; what nobody accepted is refused, too', () => {
  const verdicts = new ShellVerdicts(holes, () => undefined);
  verdicts.refuse({ kind: 'hole', at: 5 }, 'single');
  verdicts.refuse({ kind: 'hole', at: 5 }, 'comment');
  const { refusals } = verdicts.conclude();
  expect(refusals.map(({ at }) => at)).toEqual([5, 9]);
  expect(refusals[0]?.message).toContain('A stands in single quotes');
});

test('a placeholder that was refused somewhere has no form', () => {
  const verdicts = new ShellVerdicts(holes, () => undefined);
  verdicts.accept(5, word);
  verdicts.accept(9, word);
  verdicts.refuse({ kind: 'hole', at: 5 }, 'comment');
  const { refusals, sites } = verdicts.conclude();
  expect(refusals.map(({ at }) => at)).toEqual([5]);
  expect([...sites.keys()]).toEqual([9]);
});

test('a variable is refused with the placeholder whose value it holds', () => {
  const verdicts = new ShellVerdicts(holes, (variable) => (variable === 'x' ? 'A' : undefined));
  verdicts.refuse({ kind: 'variable', name: 'x', at: 20 }, 'unquoted');
  expect(verdicts.conclude().refusals.map(({ message }) => message)).toContainEqual(
    expect.stringMatching(/^\$x, which holds the value of A, stands unquoted/),
  );
});

test('what is refused in a text of its own is told of where that text stands', () => {
  const verdicts = new ShellVerdicts([], () => 'A');
  verdicts.within(30, () => {
    verdicts.within(2, () => verdicts.refuse({ kind: 'variable', name: 'x', at: 1 }, 'unquoted'));
  });
  verdicts.refuse({ kind: 'variable', name: 'x', at: 40 }, 'unquoted');
  expect(verdicts.conclude().refusals.map(({ at }) => at)).toEqual([30, 40]);
});

test('a value that can do no harm has no label to be followed by', () => {
  const verdicts = new ShellVerdicts(holes, () => undefined);
  expect([5, 9, 1].map((at) => verdicts.labelAt(at))).toEqual(['A', undefined, undefined]);
});
