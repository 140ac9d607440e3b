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
