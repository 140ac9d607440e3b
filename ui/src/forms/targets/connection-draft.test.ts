import type { InheritedSettings } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { connectionDraft, isAboutWinrm, settingsOf } from './connection-draft.ts';

test('empty fields are not set, so that they are inherited', () => {
  expect(settingsOf(connectionDraft({}))).toEqual({});
  const cleared = { ...connectionDraft({ port: 2222, username: 'deploy' }), port: undefined, username: '  ' };
  expect(settingsOf(cleared)).toEqual({});
});

test('settings survive the form unchanged', () => {
  const settings = {
    protocol: 'ssh',
    port: 2222,
    username: 'deploy',
    connect_timeout: 5,
    keepalive_interval: 30,
    jump_hosts: ['bastion', 'inner bastion'],
    ssh_algorithms: 'legacy',
    max_connections: 1,
  } satisfies InheritedSettings;
  expect(settingsOf(connectionDraft(settings))).toEqual(settings);
  expect(settingsOf(connectionDraft({ jump_hosts: [] }))).toEqual({ jump_hosts: [] });
  const winrm = {
    protocol: 'winrm',
    winrm_transport: 'http',
    winrm_authentication: 'kerberos',
    winrm_principal: 'HTTP/win-1@CORP.EXAMPLE',
    winrm_certificate_check: 'verify',
    winrm_ca: '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n',
  } as const;
  expect(settingsOf(connectionDraft(winrm))).toEqual(winrm);
});

test('WinRM settings are shown if WinRM applies or one of them is set', () => {
  expect(isAboutWinrm(connectionDraft({}), undefined)).toBe(false);
  expect(isAboutWinrm(connectionDraft({}), 'winrm')).toBe(true);
  expect(isAboutWinrm(connectionDraft({ protocol: 'ssh' }), 'winrm')).toBe(false);
  expect(isAboutWinrm(connectionDraft({ protocol: 'ssh', winrm_transport: 'http' }), 'ssh')).toBe(true);
});
