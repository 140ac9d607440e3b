import type { Agent, Segment } from '@opsconductor/protocol';
import { describe, expect, it } from 'vitest';
import { consequencesOf } from './agent-words.ts';
import { isKeyMissing, recoveryState, recoverySteps } from './recovery-words.ts';

const server = 'https://ops.example.com';
const segment = (fields: Partial<Segment> = {}) =>
  ({
    ...{
      name: 'dmz',
      root: 'owner_held',
      keyGeneration: 2,
      toSign: null,
      health: 'healthy',
      waitingSteps: 0,
    },
    ...{ keyRotationWantedAt: null, credentialsToRotate: 0, ...fields },
  }) as Segment;
const agent = (name: string, fields: Partial<Agent> = {}) =>
  ({ name, state: 'connected', hasSegmentKey: true, unknownSteps: 0, lastClose: null, ...fields }) as Agent;
const wraps = (...generations: number[]) =>
  generations.map((generation) => ({ generation, wrapped: 'eA==' }));
const stateOf = (recoveryKey: string | null, generations: number[], fields: Partial<Segment> = {}) =>
  recoveryState(segment(fields), { recoveryKey, wraps: wraps(...generations) }, server);

describe('the state of a recovery', () => {
  it('without a recovery key says what is lost, and how to make one', () => {
    expect(stateOf(null, [])).toMatchObject({
      look: 'held',
      commands: [
        'node scripts/opsconductor.mjs key make dmz-recovery.key --purpose recovery',
        'node scripts/opsconductor.mjs segment roster sign dmz --key ROOT-KEY --server https://ops.example.com --recovery dmz-recovery.key',
      ],
    });
  });

  it('names the generations that no agent has wrapped', () => {
    expect(stateOf('key', [2])).toMatchObject({
      look: 'held',
      lead: expect.stringMatching(/^Generation 1 of/),
    });
    expect(stateOf('key', []).lead).toMatch(/^Generations 1, 2 of/);
    expect(stateOf('key', [], { keyGeneration: 0 })).toMatchObject({ look: 'queued', commands: [] });
  });

  it('that is complete asks for a proof, as the server can’t know whether the wraps open', () => {
    expect(stateOf('key', [1, 1, 2])).toMatchObject({
      look: 'succeeded',
      lead: 'All 2 generations of the segment key are wrapped for the recovery key.',
      commands: [
        'node scripts/opsconductor.mjs recovery prove dmz --key ROOT-KEY --server https://ops.example.com --recovery RECOVERY-KEY',
      ],
    });
  });
});

describe('a segment whose agents are lost', () => {
  const fresh = agent('dmz-new', { hasSegmentKey: false });
  const commands = (of: Segment, agents: Agent[]) =>
    recoverySteps(of, agents, server).map(({ command }) =>
      command?.replace(/ --key.*(?= --recovery| --admit)/, ''),
    );

  it('is told every step, or only those that are left', () => {
    expect(commands(segment(), [agent('dmz-a', { state: 'offline' })])).toEqual([
      undefined,
      'node scripts/opsconductor.mjs segment roster sign dmz --admit NEW-AGENT=SHA256:… --remove LOST-AGENT',
      'node scripts/opsconductor.mjs recovery use dmz --agent NEW-AGENT --recovery RECOVERY-KEY',
      undefined,
    ]);
    const toSign = { admit: ['dmz-new'], remove: [], newKey: false };
    expect(commands(segment({ toSign }), [fresh])).toHaveLength(3);
    expect(commands(segment(), [fresh])).toEqual([
      'node scripts/opsconductor.mjs recovery use dmz --agent dmz-new --recovery RECOVERY-KEY',
      undefined,
    ]);
  });

  it('says so once a new agent is admitted, and not while one that has the key is connected', () => {
    const lead = 'None of its connected agents has the segment key.';
    const leads = (of: Segment, agents: Agent[]) => consequencesOf(of, agents, 0).map((one) => one.lead);
    expect(leads(segment(), [fresh, agent('dmz-a', { state: 'offline' })])).toContain(lead);
    expect(leads(segment(), [fresh, agent('dmz-a')])).not.toContain(lead);
    expect(
      isKeyMissing(segment({ toSign: { admit: ['dmz-new'], remove: [], newKey: false } }), [fresh]),
    ).toBe(false);
    expect(isKeyMissing(segment(), [])).toBe(false);
  });

  it('says what is left to do if the server holds the root, as there is no recovery key then', () => {
    const told = (of: Segment, agents: Agent[]) =>
      consequencesOf(of, agents, 0).find(({ lead }) => lead.startsWith('None of its connected agents'))?.text;
    const lost = agent('dmz-a', { state: 'offline' });
    expect(told(segment({ root: 'managed' }), [fresh, lost])).toMatch(/are lost, revoke them/);
    expect(told(segment({ root: 'managed' }), [fresh, agent('dmz-a')])).toBeUndefined();
    const revoked = segment({ root: 'managed', keyRotationWantedAt: '2027-03-01T12:00:00Z' });
    expect(told(revoked, [fresh])).toBeUndefined();
    expect(told(segment(), [fresh, lost])).toMatch(/recovery key/);
  });
});
