import { expect, test } from 'vitest';
import { connectionDraft, settingsOf } from './connection-draft.ts';

test('what is left empty is not set, so that it is inherited', () => {
  expect(settingsOf(connectionDraft({}))).toEqual({});
  const cleared = { ...connectionDraft({ port: 2222, username: 'deploy' }), port: undefined, username: '  ' };
  expect(settingsOf(cleared)).toEqual({});
});

test('what is set comes out as it went in', () => {
  const settings = {
    protocol: 'ssh',
    port: 2222,
    username: 'deploy',
    connect_timeout: 5,
    keepalive_interval: 30,
  } as const;
  expect(settingsOf(connectionDraft(settings))).toEqual(settings);
});
