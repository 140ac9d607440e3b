// A target's labels and health in words, and the kinds of answers to a connection test.
import type { Target, TestResult } from '@opsconductor/protocol';
import { reasonWord } from '../../format/status.ts';

export interface TestAnswer {
  state: 'succeeded' | 'failed' | 'held';
  lead: string;
  /** Instead of message and advice, where the page itself shows what they say. */
  text?: string;
}

/** The kind of answer in a few words; message and advice say the rest. */
export function testAnswer(result: TestResult): TestAnswer {
  if (result.ok) return { state: 'succeeded', lead: 'Connected' };
  switch (result.reason) {
    case 'no_agent':
      return { state: 'held', lead: 'Not tested: the segment has no agent' };
    case 'agents_offline':
      return { state: 'held', lead: 'Not tested: no agent of the segment is connected' };
    case 'agents_disabled':
      return { state: 'held', lead: 'Not tested: no agent of the segment is enabled' };
    case 'no_credential':
      return { state: 'held', lead: 'Not tested: the target has no credential' };
    case 'host_key_unknown':
      // Message and advice also say the fingerprint, and the whole key.
      return {
        state: 'held',
        lead: 'Reached, but its host key is not accepted yet',
        ...(result.offeredFingerprint === null
          ? {}
          : {
              text: 'Compare this fingerprint with what the host’s own console shows, then accept the key.',
            }),
      };
    case 'host_key_mismatch':
      return { state: 'failed', lead: 'Refused: the host key changed' };
    case 'auth_failed':
      return { state: 'failed', lead: 'Reached, but it does not accept the credential' };
    case 'channel_refused':
      return { state: 'failed', lead: 'Logged in, but no command runs there' };
    case 'credential_bounds':
      return { state: 'failed', lead: 'Not sent: the credential’s bounds do not allow this target' };
    case 'credential_unusable':
      return { state: 'failed', lead: 'The agent can’t use the credential' };
    case 'name_not_found':
      return { state: 'failed', lead: 'The agent can’t resolve the host name' };
    case 'connection_refused':
      return { state: 'failed', lead: 'The host refuses connections on this port' };
    case 'connect_timed_out':
      return { state: 'failed', lead: 'No answer from the host' };
    case 'unreachable':
      return { state: 'failed', lead: 'The agent can’t reach the host' };
    case 'no_common_algorithm':
      return { state: 'failed', lead: 'The host offers no algorithm that the agent accepts' };
    case null:
      return { state: 'failed', lead: 'The test failed' };
    default: {
      const word = reasonWord(result.reason);
      return { state: 'failed', lead: word.charAt(0).toUpperCase() + word.slice(1) };
    }
  }
}

/** Whether the credential has to be sealed again, which is done where credentials are. */
export function isForReplacing(reason: string | null): boolean {
  return reason === 'credential_bounds' || reason === 'credential_unusable';
}

const untriedKey = {
  look: 'pending',
  word: 'not tried since its key was accepted',
  brief: 'key not tried yet',
};

/** The status whose glyph and color it gets, and its word. */
export function healthWords({
  health,
  lastContact,
  untriedSince,
  isActive,
  hostKeys,
}: Pick<Target, 'health' | 'lastContact' | 'untriedSince' | 'isActive' | 'hostKeys'>): {
  look: string;
  word: string;
  /** For a list, if the word is too long for it. */
  brief?: string;
} {
  if (!isActive) return { look: 'skipped', word: 'inactive' };
  if (health === 'ok') return { look: 'succeeded', word: 'ok' };
  if (health === 'never' && untriedSince !== undefined)
    return hostKeys.some(({ acceptedAt }) => acceptedAt !== null && acceptedAt >= untriedSince)
      ? untriedKey
      : { look: 'pending', word: 'not known since the change', brief: 'changed, not tried' };
  if (health === 'never') return { look: 'pending', word: 'not reached yet' };
  const reason = lastContact?.reason;
  const isAboutKey = reason === 'host_key_unknown' || reason === 'host_key_mismatch';
  if (isAboutKey && hostKeys.length > 0 && hostKeys.every(({ state }) => state === 'accepted'))
    return untriedKey;
  return { look: 'failed', word: reason === null || reason === undefined ? 'failing' : reasonWord(reason) };
}

/** Outcome of a check without login: `answers, 12 ms`. */
export function probeWords({ ok, reason, latencyMs }: NonNullable<Target['lastProbe']>): string {
  if (!ok) return reason === null ? 'no answer' : reasonWord(reason);
  return latencyMs === null ? 'answers' : `answers, ${Math.max(1, Math.round(latencyMs))} ms`;
}

/** `env=prod`, or only the name for a label without a value. */
export function labelWords(labels: Target['labels']): string[] {
  return Object.entries(labels).map(([name, value]) => (value === '' ? name : `${name}=${value}`));
}
