import { limits } from '@opsconductor/protocol';
import { expect, it } from 'vitest';
import { contentTypeOf, fileProblem, guessImportFormat } from './job-file.ts';

it.each([
  ['a bundle in YAML', 'format: opsconductor-jobs\nversion: 1\njobs:\n', 'bundle', 'application/yaml'],
  ['a bundle in JSON', '{"format": "opsconductor-jobs", "version": 1}', 'bundle', 'application/json'],
  [
    'a Rundeck export',
    '---\n- defaultTab: nodes\n  loglevel: INFO\n  sequence:\n',
    'rundeck',
    'application/yaml',
  ],
  [
    'a Rundeck export in JSON',
    '[{"name": "x", "sequence": {"commands": []}}]',
    'rundeck',
    'application/json',
  ],
  ['a Rundeck export with a comment', '# from prod\n- name: x\n  sequence:\n', 'rundeck', 'application/yaml'],
  ['a definition alone', 'name: x\nsteps:\n  - name: sequence: no\n', undefined, 'application/yaml'],
  ['a list of something', '- a\n- b\n', undefined, 'application/yaml'],
])('%s is recognized by its beginning', (_, text, format, type) => {
  expect([guessImportFormat(text), contentTypeOf(text)]).toEqual([format, type]);
});

it('a file that can’t be imported is not sent', () => {
  expect(fileProblem({ size: 0 })).toBe('The file is empty.');
  expect(fileProblem({ size: limits.maxBundleBytes })).toBeUndefined();
  expect(fileProblem({ size: limits.maxBundleBytes + 1 })).toMatch(/at most can be imported/);
});
