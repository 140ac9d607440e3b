import { expect, test } from 'vitest';
import {
  filesProblem,
  guessDelimiter,
  guessFormat,
  nameFor,
  tidyFiles,
  withFiles,
} from './inventory-files.ts';

const file = (path: string, content = '') => ({ path, content });
const pathsOf = (files: { path: string }[]) => files.map(({ path }) => path);

test('the dropped folder is not part of the paths, and hidden files are left out', () => {
  const dropped = ['prod/hosts', 'prod/group_vars/web.yml', 'prod/.git/config', 'prod/hosts~'].map((path) =>
    file(path),
  );
  expect(pathsOf(tidyFiles(dropped))).toEqual(['hosts', 'group_vars/web.yml']);
  expect(pathsOf(tidyFiles([file('group_vars/web.yml')]))).toEqual(['group_vars/web.yml']);
  expect(pathsOf(tidyFiles([file('./a/b/hosts'), file('/a/b/x')]))).toEqual(['hosts', 'x']);
});

test.each([
  ['hosts.csv', 'name\na', 'csv'],
  ['list.txt', 'name;host\nweb;10.0.0.1', 'csv'],
  ['list.txt', '"name","host"\n', 'csv'],
  ['hosts', '# all of it\n[web]\nweb-1', 'ansible_ini'],
  ['hosts', 'web-1,web-2', 'ansible_ini'],
  ['hosts', 'all:\n  hosts:\n', 'ansible_yaml'],
  ['hosts.yml', '', 'ansible_yaml'],
  ['pasted', '{"_meta": {}}', 'ansible_json'],
  ['pasted', '  ', undefined],
])('%s with %j is %s', (path, content, format) => {
  expect(guessFormat([file('group_vars/all.json', '{}'), file(path, content)])).toBe(format);
});

test.each([
  [['plant-2.csv'], 'plant-2'],
  [['hosts', 'group_vars/all.yml'], 'hosts'],
  [['prod/pumps.2026.yaml'], 'pumps.2026'],
  [['pasted'], ''],
  [['a.yml', 'b.yml'], ''],
  [[], ''],
])('%j propose the name %j', (paths, name) => {
  expect(nameFor(paths.map((path) => file(path)))).toBe(name);
});

test('the delimiter is the one that occurs most in the header', () => {
  expect(guessDelimiter('name;host;a,b\n')).toBe(';');
  expect(guessDelimiter('name\thost')).toBe('\t');
  expect(guessDelimiter('name')).toBeUndefined();
});

test('a file replaces one with the same path; variable files come last', () => {
  const files = withFiles([file('group_vars/a.yml'), file('hosts', 'old')], [file('hosts', 'new')]);
  expect(files).toEqual([file('hosts', 'new'), file('group_vars/a.yml')]);
});

test('too many files and binary files are reported before they are sent', () => {
  expect(filesProblem([file('hosts', 'web')])).toBeUndefined();
  expect(filesProblem([file('logo.png', 'a\u0000b')])).toMatch(/logo.png is not a text file/);
  expect(filesProblem(Array.from({ length: 5001 }, (_, at) => file(`${at}`)))).toMatch(/5,001 files/);
});
