import type { PendingEnrollmentToken } from '@opsconductor/protocol';
import { describe, expect, it } from 'vitest';
import { makerOf, tokenWords } from './token-words.ts';

const now = Date.parse('2026-11-24T02:27:12.000Z');
const token = (fields: Partial<PendingEnrollmentToken>): PendingEnrollmentToken => ({
  id: 12,
  createdBy: 'ada',
  createdAt: '2026-11-24T02:10:00.000Z',
  expiresAt: '2026-11-24T03:10:00.000Z',
  admitsNobody: null,
  ...fields,
});

describe('an enrollment token that was not used', () => {
  it('says that it admits an agent, or why not', () => {
    expect(tokenWords(token({}), now).word).toBe('admits one agent');
    expect(tokenWords(token({ admitsNobody: 'maker_lost_right' }), now).word).toBe(
      'admits no agent: ada may no longer enroll agents here',
    );
    expect(tokenWords(token({ admitsNobody: 'maker_deactivated' }), now).word).toBe(
      'admits no agent: ada was deactivated',
    );
    const orphan = token({ createdBy: null, admitsNobody: 'maker_deleted' });
    expect([makerOf(orphan), tokenWords(orphan, now).word]).toEqual([
      'a user who was deleted',
      'admits no agent: the user who made it was deleted',
    ]);
  });

  it('has expired from its moment on, before the list is read again', () => {
    const expiresAt = '2026-11-24T02:27:12.000Z';
    expect(tokenWords(token({ expiresAt }), now - 1).word).toBe('admits one agent');
    expect(tokenWords(token({ expiresAt }), now).word).toBe('expired');
  });

  it('is not said to admit an agent if a server of the previous version, which does not say so, has answered', () => {
    const { admitsNobody: _, ...before } = token({});
    expect(tokenWords(before as PendingEnrollmentToken, now).word).toBe('not used yet');
  });
});
