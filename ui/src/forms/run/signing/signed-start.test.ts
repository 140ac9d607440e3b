import { expect, it } from 'vitest';
import { readSignedStart } from './signed-start.ts';

const grant = { terms: '{}', targets: [] };
const signed = { targetIds: [3], version: 4, parameters: { service: 'nginx' }, grant };

it('starts what was signed, with the unsigned options as they are set', () => {
  const chosen = { targetIds: [9], parameters: { service: 'sshd' }, timeout: 60, reason: 'because' };
  expect(readSignedStart(JSON.stringify(signed), chosen)).toEqual({
    request: { ...signed, timeout: 60, reason: 'because' },
  });
});

it.each([
  ['{', 'not JSON'],
  ['[]', 'no grant'],
  [JSON.stringify({ definition: {}, targets: [] }), 'file to be signed'],
])('says of %s what it is', (text, problem) => {
  expect(readSignedStart(text, {})).toMatchObject({ problem: expect.stringContaining(problem) });
});
