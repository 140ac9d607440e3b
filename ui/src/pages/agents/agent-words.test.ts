import type { Agent, Segment } from '@opsconductor/protocol';
import { describe, expect, it } from 'vitest';
import { agentDetail, agentWords, consequenceOf } from './agent-words.ts';

const now = Date.parse('2026-11-24T02:27:12.000Z');
const agent = (fields: Partial<Agent>): Agent => ({
  id: 1,
  name: 'dmz-1-a',
  segmentId: 1,
  segmentName: 'dmz-1',
  state: 'connected',
  since: null,
  slots: 16,
  slotsInUse: 0,
  lastHeartbeatAt: null,
  version: '0.1.0',
  platform: 'linux-x64',
  hostname: null,
  address: null,
  spoolBytes: 0,
  rssBytes: null,
  hasSegmentKey: true,
  unknownSteps: 0,
  fingerprint: '',
  enrolledAt: '2026-11-24T00:00:00.000Z',
  ...fields,
});
const segment = (fields: Partial<Segment>) => ({ health: 'healthy', waitingSteps: 0, ...fields }) as Segment;

describe('agents in words', () => {
  it('say how long one has been silent or offline', () => {
    expect(agentWords(agent({ state: 'silent', since: '2026-11-24T02:19:31.000Z' }), now).word).toBe(
      'silent for 7 min 41 s',
    );
    expect(agentWords(agent({ state: 'offline' }), now).word).toBe('offline');
    expect(agentWords(agent({ state: 'draining', slotsInUse: 1 }), now).word).toBe('draining, 1 step left');
  });

  it('say what an agent holds back', () => {
    expect(agentDetail(agent({ spoolBytes: 12_000_000, hasSegmentKey: false, address: '10.0.0.1' }))).toBe(
      'spool 12 MB, has no segment key yet, 10.0.0.1',
    );
  });

  it('put unknown steps before everything else, and say where new steps go', () => {
    const agents = [agent({}), agent({ id: 2, name: 'dmz-1-b', state: 'silent', unknownSteps: 2 })];
    expect(consequenceOf(segment({ health: 'degraded' }), agents)).toEqual({
      look: 'unknown',
      lead: '2 steps are unknown.',
      text: 'They ran on dmz-1-b when it was cut off. New steps go to dmz-1-a.',
    });
  });

  it('say what waits for an offline segment, and nothing of a healthy one', () => {
    expect(consequenceOf(segment({ health: 'offline', waitingSteps: 11 }), [])?.lead).toBe(
      '11 steps wait for it.',
    );
    expect(consequenceOf(segment({}), [agent({})])).toBeUndefined();
  });
});
