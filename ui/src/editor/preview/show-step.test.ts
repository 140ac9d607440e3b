import type { JobDefinition, StepDefinition } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { runsBy, showStep } from './show-step.ts';

const on = {
  target: undefined,
  parameters: {},
  job: { id: 1, version: 1 },
  user: 'ada',
  now: '2026-11-27T12:00:00.000Z',
};
function shown(type: StepDefinition['type'], config: object) {
  return showStep({ name: 'job', steps: [{ name: 'a', type, config }] } as JobDefinition, 0, on);
}

test('a step without a command of its own shows what it does', () => {
  expect(shown('reboot', { become: {} })?.command).toBe('shutdown -r now');
  expect(shown('reboot', { command: 'systemctl reboot' })?.command).toBe('systemctl reboot');
  expect(shown('wait_for', { port: 8443, state: 'closed' })).toMatchObject({
    command: '',
    others: [
      { name: 'port', text: '8443' },
      { name: 'state', text: 'closed' },
    ],
  });
  expect(shown('sftp.download', { remote_path: '/var/log/app', artifact: true })?.others).toEqual([
    { name: 'remote_path', text: '/var/log/app' },
    { name: 'artifact', text: 'true' },
  ]);
});

test.each([
  ['ssh.exec', { command: 'x' }, 'sh'],
  ['ssh.exec', { command: 'x', interpreter: 'python3', become: { user: 'app' } }, 'python3, as app by sudo'],
  ['reboot', { become: { method: 'su' } }, 'sh, as root by su'],
  ['winrm.exec', { command: 'x', shell: 'pwsh', run_as: 'system' }, 'pwsh, as the system'],
  ['winrm.exec', { command: 'x', run_as_credential: 'search' }, 'powershell, as the user of search'],
  ['wait_for', { seconds: 60 }, ''],
  ['sftp.upload', { local_path: '/a', remote_path: '/b', become: {} }, 'as root by sudo'],
])('%s of %j is run by %s', (type, config, by) => {
  expect(runsBy({ type, config })).toBe(by);
});
