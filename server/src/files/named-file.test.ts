import { expect, test } from 'vitest';
import { mayNameFile } from './named-file.ts';

const value = '${{ parameters.a }}';

test.each([
  ['app.tar', ['app.tar'], ['app.tar.gz', 'my app.tar', 'app']],
  [
    `app-${value}.tar`,
    ['app-1.tar', 'app-.tar', 'app-.tar.tar'],
    ['app-1.tar.gz', 'an app-1.tar', 'app-.ta', 'app.tar'],
  ],
  [`${value}-${value}`, ['1-2', '-', '1-2-3'], ['12']],
  [`a${value}a`, ['aa', 'aba'], ['a']],
  [`${value}.tar.tar`, ['x.tar.tar', '.tar.tar.tar'], ['.tar']],
  [`${value}.tar${value}`, ['x.tar.tar', '.tar'], ['tar']],
  [value, ['any', 'thing'], []],
  ['$${{ a }}', ['${{ a }}'], ['a']],
])('a step that names %s', (file, may, mayNot) => {
  expect(may.filter((name) => !mayNameFile({ file }, name))).toEqual([]);
  expect(mayNot.filter((name) => mayNameFile({ file }, name))).toEqual([]);
});

test('a step that names no file gets none', () => {
  for (const config of [{ command: 'true' }, {}, null, undefined, { file: ['a'] }])
    expect(mayNameFile(config, 'a')).toBe(false);
});
