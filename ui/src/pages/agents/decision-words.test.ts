import type { AgentDetail } from '@opsconductor/protocol';
import { describe, expect, it } from 'vitest';
import {
  closeWords,
  disableWords,
  drainWords,
  lastAgentWords,
  type Outlook,
  revokeWords,
} from './decision-words.ts';
import { labelsText, readLabels } from './labels-text.ts';

function outlook(agent: Partial<AgentDetail>, peers: Outlook['agents'] = []): Outlook {
  const base = {
    id: 1,
    name: 'dmz-1-a',
    state: 'connected',
    slotsInUse: 0,
    steps: [],
    keyGenerations: [1],
    currentGeneration: 1,
    revocation: { remainingAgents: peers.length, credentials: 0 },
  } as unknown as AgentDetail;
  return {
    agent: { ...base, ...agent },
    segment: { name: 'dmz-1', unknownAfter: 300, root: 'managed' },
    agents: peers,
  };
}
const step = (startedAt: string | null) => ({ startedAt }) as AgentDetail['steps'][number];
const busy = {
  slotsInUse: 3,
  steps: [step('2026-11-24T00:00:00.000Z'), step('2026-11-24T00:00:00.000Z'), step(null)],
};
const peer = { id: 2, name: 'dmz-1-b', state: 'connected' } as const;

describe('what a decision would do, in words', () => {
  it('says where new steps go while an agent is drained, or that they wait', () => {
    expect(drainWords(outlook(busy, [peer])).join(' ')).toMatch(
      /finishes the 3 steps.*New steps of dmz-1 go to dmz-1-b/,
    );
    expect(drainWords(outlook({})).join(' ')).toMatch(/No other agent of dmz-1 is connected: new steps wait/);
  });

  it('says what happens to steps that a disabled agent has and has not begun', () => {
    const text = disableWords(outlook(busy, [peer])).join(' ');
    expect(text).toMatch(/hands back the 1 step that it has not started/);
    expect(text).toMatch(/2 steps that it has started keep running.*Enable it within 5 min/);
  });

  it('says that a revoked agent’s steps are unknown at once, who makes the key, and what to rotate', () => {
    const revocation = { remainingAgents: 1, credentials: 2 };
    const text = revokeWords(outlook({ ...busy, revocation }, [peer])).join(' ');
    expect(text).toMatch(/2 steps that it has started become unknown at once/);
    expect(text).toMatch(/by dmz-1-b, at once/);
    expect(text).toMatch(/can open 2 credentials/);
    expect(revokeWords(outlook({ keyGenerations: [] })).join(' ')).not.toMatch(/key of dmz-1/);
    expect(revokeWords(outlook({})).join(' ')).toMatch(/by the next agent that connects or enrolls/);
  });

  it('says so if it is the last agent, before and after', () => {
    expect(lastAgentWords(outlook({}, [peer]))).toBeUndefined();
    const revocation = { remainingAgents: 0, credentials: 1 };
    expect(lastAgentWords(outlook({ revocation }))).toMatchObject({ lead: 'It is the last agent of dmz-1.' });
    expect(lastAgentWords(outlook({ revocation, state: 'revoked' }))?.lead).toBe(
      'It was the last agent of dmz-1.',
    );
    expect(lastAgentWords(outlook({ revocation }))?.text).toMatch(/1 credential can’t be opened any more/);
  });

  it('says how a connection ended, with what the server said', () => {
    expect(closeWords({ code: 4001, reason: 'agent is disabled' })).toBe(
      'The server refused it (agent is disabled).',
    );
    expect(closeWords({ code: 4001, reason: 'the key was replaced' })).toMatch(/Otherwise it was a copy/);
    expect(closeWords({ code: 4011, reason: 'x' })).toMatch(/to report a policy/);
    expect(closeWords({ code: 1006, reason: '' })).toMatch(/broke without a closing message/);
    expect(closeWords({ code: 4711, reason: '' })).toBe('Close code 4711.');
  });
});

describe('labels as text', () => {
  it('are one per line and parse back to the same', () => {
    const labels = { rack: '7', spare: '', note: 'a=b' };
    expect(labelsText(labels)).toBe('rack=7\nspare\nnote=a=b');
    expect(readLabels(labelsText(labels))).toEqual({ labels });
    expect(readLabels(' rack = 7 \n\n')).toEqual({ labels: { rack: '7' } });
  });

  it('name the line that is wrong', () => {
    expect(readLabels('a\n=b')).toEqual({ problem: 'Line 2 has no name before “=”.' });
    expect(readLabels('a\na=1')).toEqual({ problem: 'Line 2: “a” is already listed.' });
    const wrong = readLabels('a\n!!=x');
    expect('problem' in wrong && wrong.problem).toMatch(/^Line 2: “!!” is not a valid name: use letters/);
  });
});
