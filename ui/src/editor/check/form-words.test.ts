import { checkDefinition } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { readDefinition } from '../text/read-definition.ts';
import { formText } from './form-words.ts';
import { placeProblems, problemText } from './problems.ts';

function problemsOf(text: string) {
  const read = readDefinition(text);
  return placeProblems(read, checkDefinition(read.value));
}

test('beside a field of the form, a problem names fields as the form does', () => {
  const [both] = problemsOf(
    'name: a\nsteps:\n  - name: b\n    type: ssh.copy\n    config: { local_path: /srv/a, file: a, remote_path: /opt/a }\n',
  );
  if (both === undefined) throw new Error('No problem was found.');
  expect(problemText(both)).toContain('leave out `local_path` or `file`.');
  expect(formText(both)).toContain('leave out “Path on the agent” or “File of the server”.');
  expect(formText(both)).not.toMatch(/local_path|`file`/);
});

test('a field with a value, and a field that is missing, have their labels too', () => {
  const texts = [
    ...problemsOf(
      'name: a\nsteps:\n  - name: b\n    type: sftp.download\n    config: { remote_path: /opt/a }\n    hold_for: 60\n',
    ),
  ].map(formText);
  expect(texts).toContainEqual(
    expect.stringMatching(/^“Path on the agent” is missing: .*“Keep as artifacts: yes”/),
  );
  expect(texts).toContainEqual(expect.stringContaining('“If unknown: hold”'));
});

test('outside of steps, names stay: the form has no other words for them there', () => {
  const problem = { path: 'timeout', place: ['timeout'], from: 0, to: 1, line: 1, column: 1 };
  expect(formText({ ...problem, message: 'Say `timeout: 3`.' })).toBe('Say `timeout: 3`.');
});
