import { stepReasons, type TestResult } from '@opsconductor/protocol';
import { describe, expect, it } from 'vitest';
import { testAnswer } from './targets-words.ts';

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
    const reasons = [...stepReasons, 'no_agent', 'agents_offline', 'no_credential', null];
    const leads = reasons.map((reason) => testAnswer(result(reason)).lead);
    expect(new Set(leads).size).toBe(reasons.length);
  });

  it('is a success only when it is ok, whatever the reason says', () => {
    expect(testAnswer({ ...result('auth_failed'), ok: true }).state).toBe('succeeded');
    expect(testAnswer(result(null)).state).toBe('failed');
  });
});
