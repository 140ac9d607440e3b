import { type HostKey, stepReasons, type Target, type TestResult } from '@opsconductor/protocol';
import { describe, expect, it } from 'vitest';
import { sourceWords } from '../../format/settings.ts';
import { healthWords, isForReplacing, labelWords, testAnswer } from './target-words.ts';

const result = (reason: string | null): TestResult => ({
  ok: false,
  reason,
  message: '',
  advice: null,
  agentName: null,
  offeredFingerprint: null,
  acceptedFingerprints: [],
  serverVersion: null,
  latencyMs: null,
});

describe('the answer of a connection test', () => {
  it('tells every reason apart', () => {
    const reasons = [...stepReasons, 'no_agent', 'agents_offline', 'agents_disabled', 'no_credential', null];
    const leads = reasons.map((reason) => testAnswer(result(reason)).lead);
    expect(new Set(leads).size).toBe(reasons.length);
  });

  it('is a success only when it is ok, whatever the reason says', () => {
    expect(testAnswer({ ...result('auth_failed'), ok: true }).state).toBe('succeeded');
    expect(testAnswer(result(null)).state).toBe('failed');
  });
});

describe('a target in words', () => {
  const hostKeys: Target['hostKeys'] = [];

  it('says where a setting comes from', () => {
    expect(sourceWords({ kind: 'group', id: 1, name: 'Web servers' })).toBe('from group Web servers');
    expect(sourceWords({ kind: 'default', id: null, name: '' })).toBe('built in');
    expect(sourceWords({ kind: 'target', id: 4, name: 'web-01' })).toBe('its own');
  });

  it('says inactive before healthy, and why it is failing', () => {
    const lastContact = { at: '2026-11-24T02:00:00Z', ok: false, reason: 'auth_failed' };
    expect(healthWords({ health: 'ok', lastContact: null, isActive: false, hostKeys }).word).toBe('inactive');
    expect(healthWords({ health: 'failing', lastContact, isActive: true, hostKeys }).look).toBe('failed');
    expect(healthWords({ health: 'failing', lastContact, isActive: true, hostKeys }).word).not.toBe(
      'failing',
    );
    expect(healthWords({ health: 'failing', lastContact: null, isActive: true, hostKeys }).word).toBe(
      'failing',
    );
  });

  it('is not known if how it is reached was changed since it was last tried', () => {
    const untried = { health: 'never', lastContact: null, isActive: true, hostKeys } as const;
    expect(healthWords(untried).word).toBe('not reached yet');
    expect(healthWords({ ...untried, untriedSince: '2026-11-24T02:00:00Z' })).toEqual({
      look: 'pending',
      word: 'not known since the change',
      brief: 'changed, not tried',
    });
  });

  it.each(['host_key_unknown', 'host_key_mismatch'])(
    'is not known either once the key that %s was about is accepted',
    (reason) => {
      const lastContact = { at: '2026-11-24T02:00:00Z', ok: false, reason };
      const key = (state: HostKey['state']) =>
        ({ fingerprint: `SHA256:${state}`, keyType: 'ssh-ed25519', state }) as HostKey;
      const words = (...states: HostKey['state'][]) =>
        healthWords({ health: 'failing', lastContact, isActive: true, hostKeys: states.map(key) }).look;
      expect(words('accepted')).toBe('pending');
      expect(words('accepted', 'changed')).toBe('failed');
      expect(words('pending')).toBe('failed');
      expect(words()).toBe('failed');
    },
  );

  it('of a new key says what to do with its fingerprint, which the page shows once', () => {
    const result = { ok: false, reason: 'host_key_unknown', offeredFingerprint: 'SHA256:a' } as TestResult;
    expect(testAnswer(result).text).toMatch(/^Compare this fingerprint/);
    expect(testAnswer({ ...result, offeredFingerprint: null }).text).toBeUndefined();
    expect(testAnswer({ ...result, reason: 'host_key_mismatch' }).text).toBeUndefined();
  });

  it('leads to the credentials if the one that was used has to be sealed again', () => {
    expect(isForReplacing('credential_unusable')).toBe(true);
    expect(isForReplacing('credential_bounds')).toBe(true);
    expect(isForReplacing('unreachable')).toBe(false);
    expect(isForReplacing(null)).toBe(false);
  });

  it('calls a key that is not the accepted one changed, as the list of keys does', () => {
    const lastContact = { at: '2026-11-24T02:00:00Z', ok: false, reason: 'host_key_mismatch' };
    expect(healthWords({ health: 'failing', lastContact, isActive: true, hostKeys: [] }).word).toBe(
      'host key changed',
    );
  });

  it('tells a key that was accepted since the last try from another change', () => {
    const acceptedAt = '2026-11-24T02:00:00.250Z';
    const key = { fingerprint: 'SHA256:a', keyType: 'ssh-ed25519', state: 'accepted', acceptedAt } as HostKey;
    const words = (untriedSince: string) =>
      healthWords({ health: 'never', lastContact: null, untriedSince, isActive: true, hostKeys: [key] }).word;
    expect(words('2026-11-24T02:00:00.250Z')).toBe('not tried since its key was accepted');
    expect(words('2026-11-24T02:00:00.251Z')).toBe('not known since the change');
  });

  it('leaves out the value of a label without one', () => {
    expect(labelWords({ env: 'prod', canary: '' })).toEqual(['env=prod', 'canary']);
  });
});
