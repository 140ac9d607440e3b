import { expect, test } from 'vitest';
import type { PolicyRules } from './agent-policy.ts';
import { describePolicy } from './describe-policy.ts';

const said = (rules: PolicyRules) => describePolicy({ fileRoots: [], rules }).slice(0, 2);

test('a policy without ssh.exec is described as allowing no command of wait_for and reboot', () => {
  expect(said({ step_types: ['sftp.upload', 'wait_for', 'reboot'] })).toEqual([
    'step types             sftp.upload, wait_for, reboot',
    '                       wait_for and reboot without a command, which needs ssh.exec',
  ]);
  const others: PolicyRules[] = [{}, { step_types: ['ssh.exec', 'reboot'] }, { step_types: ['sftp.upload'] }];
  for (const rules of others) expect(said(rules)[1]).toMatch(/^hosts /);
});

test('who has to sign runs is told with where they sign, in words', () => {
  const key = `${'A'.repeat(43)}=`;
  const lines = describePolicy({
    fileRoots: [],
    rules: {
      require_grant: {
        signers: [
          { name: 'ann', public_key: key },
          { name: 'bo', public_key: key, classes: ['browser', 'cli'] },
        ],
      },
    },
  });
  expect(lines.filter((line) => line.startsWith('signed'))).toEqual([
    `signed runs only       by ann on the command line (${key}), for any agent of the segment, for 24 h at most`,
    `signed runs only       by bo in a browser or on the command line (${key}), for any agent of the segment, for 24 h at most`,
  ]);
});
