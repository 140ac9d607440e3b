import { expect, test } from 'vitest';
import { spread } from './longest-first.ts';

const spreadOut = (names: string) =>
  spread([...names], { busy: (name) => name < 'a', waiting: (name) => /[a-h]/.test(name) }).join('');

test('files that wait are spread evenly among busy ones, each kind in its order, and the others follow', () => {
  expect(spreadOut('ABCDabcdxyz')).toBe('AaBbCcDdxyz');
  expect(spreadOut('ABCDEFabxyz')).toBe('ABaCDEbFxyz');
  expect(spreadOut('xABaybcdez')).toBe('AabcBdexyz');
});

test('files of only one kind keep their order', () => {
  expect(spreadOut('xaybz')).toBe('abxyz');
  expect(spreadOut('xAyBz')).toBe('ABxyz');
  expect(spreadOut('xyz')).toBe('xyz');
  expect(spreadOut('')).toBe('');
});
