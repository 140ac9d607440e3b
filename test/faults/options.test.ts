import { expect, test } from 'vitest';
import { readOptions } from './options.ts';

const roundsOf = (...args: string[]) => {
  const options = readOptions(args);
  return options.does === 'rounds' ? options.rounds : undefined;
};

test('--round selects a single round; several rounds start with the first, on at most as many systems as rounds', () => {
  expect(roundsOf('--seed', '3', '--round', '7', '--parallel', '4')).toMatchObject({
    seed: 3,
    from: 7,
    to: 7,
    parallel: 1,
  });
  expect(roundsOf('--rounds', '50', '--parallel', '99', '--only', 'network-cut,server-killed')).toMatchObject(
    {
      from: 1,
      to: 50,
      parallel: 8,
      only: ['network-cut', 'server-killed'],
    },
  );
});

test('results from the named files are reported or kept', () => {
  expect(readOptions(['--report', 'a', 'b'])).toEqual({ does: 'report', files: ['a', 'b'] });
  expect(readOptions(['--keep', 'a'])).toEqual({ does: 'keep', files: ['a'] });
  expect(readOptions(['--help'])).toEqual({ does: 'help' });
});

test.each([
  ['an option that is none', ['--sed', '3'], /--sed/],
  ['no whole number', ['--rounds', 'many'], /^--rounds: found "many"; allowed: a whole number$/],
  ['a fault that is none', ['--only', 'fire'], /^--only: found "fire"; allowed: .*network-cut/],
  ['an aim that is none', ['--aim', 'high'], /^--aim: found "high"; allowed: auto, or SHAPE:FAULT/],
  ['a word without an option', ['20'], /^found "20"; rounds are told by options/],
])('%s is refused with what is allowed', (_what, args, message) => {
  expect(() => readOptions(args)).toThrow(message);
});
