import { type Agent, closeCodes, type Segment } from '@opsconductor/protocol';
import { describe, expect, it } from 'vitest';
import { agentDetail, agentFits, agentWords, consequencesOf, segmentWords } from './agent-words.ts';

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
  loadAverage: null,
  busyReason: null,
  drainRequestedAt: null,
  labels: {},
  lastClose: null,
  hasSegmentKey: true,
  unknownSteps: 0,
  fingerprint: '',
  enrolledAt: '2026-11-24T00:00:00.000Z',
  ...fields,
});
const segment = (fields: Partial<Segment>) =>
  ({
    health: 'healthy',
    waitingSteps: 0,
    keyRotationWantedAt: null,
    toSign: null,
    lostRoster: null,
    credentialsToRotate: 0,
    ...fields,
  }) as Segment;

describe('agents in words', () => {
  it('say how long one has been silent or offline', () => {
    expect(agentWords(agent({ state: 'silent', since: '2026-11-24T02:19:31.000Z' }), now).word).toBe(
      'silent for 7 min 41 s',
    );
    const lastHeartbeatAt = '2026-11-24T02:19:31.000Z';
    expect(agentWords(agent({ state: 'offline', lastHeartbeatAt }), now).word).toBe('offline');
    expect(agentWords(agent({ state: 'offline' }), now).word).toBe('never connected');
    const drained = { state: 'draining', drainRequestedAt: lastHeartbeatAt } as const;
    expect(agentWords(agent({ ...drained, slotsInUse: 1 }), now).word).toBe('draining, 1 step left');
    expect(agentWords(agent(drained), now).word).toBe('drained, takes nothing');
    expect(agentWords(agent({ state: 'draining', slotsInUse: 1 }), now).word).toBe('stopping, 1 step left');
    expect(agentWords(agent({ state: 'draining' }), now).word).toBe('stopping, takes nothing');
    expect(agentWords(agent({ state: 'revoked' }), now).word).toBe('revoked');
  });

  it('say what an agent holds back', () => {
    expect(agentDetail(agent({ spoolBytes: 12_000_000, hasSegmentKey: false, address: '10.0.0.1' }))).toBe(
      'spool 12 MB, has no segment key yet, 10.0.0.1',
    );
  });

  it('put unknown steps before everything else, and say where new steps go', () => {
    const agents = [agent({}), agent({ id: 2, name: 'dmz-1-b', state: 'silent', unknownSteps: 2 })];
    expect(consequencesOf(segment({ health: 'degraded' }), agents, now)).toEqual([
      {
        look: 'unknown',
        lead: '2 steps are unknown.',
        text: 'They ran on dmz-1-b when it was cut off. New steps go to dmz-1-a.',
      },
    ]);
  });

  it('say what waits for an offline segment, and nothing about a healthy one', () => {
    const offline = segment({ health: 'offline', waitingSteps: 11 });
    expect(consequencesOf(offline, [], now).map(({ lead }) => lead)).toEqual([
      '11 steps are waiting for an agent.',
    ]);
    expect(consequencesOf(segment({}), [agent({})], now)).toEqual([]);
  });

  it('say which agents are disabled or leave, where no other is connected', () => {
    const off = agent({ name: 'a', state: 'disabled' });
    const away = agent({ id: 2, name: 'b', state: 'offline' });
    const drains = agent({ id: 3, name: 'c', state: 'draining', drainRequestedAt: '2026-11-24T02:00:00Z' });
    const stops = agent({ id: 4, name: 'd', state: 'draining' });
    const said = (health: Segment['health'], agents: Agent[], waitingSteps = 0) =>
      consequencesOf(segment({ health, waitingSteps }), agents, now).map(
        ({ lead, text }) => `${lead} ${text}`,
      );
    expect(said('offline', [off], 2)).toEqual([
      '2 steps are waiting for an agent. a is disabled: enable it, or add another agent.',
    ]);
    // As a server of an earlier version says it.
    expect(said('no_agent', [off])).toEqual([
      'Nothing can run here. a is disabled: enable it, or add another agent.',
    ]);
    expect(said('offline', [off, away])).toEqual([
      'Nothing can run here. No agent of this segment is connected. a is disabled: enable it, or check for another one on its machine whether the agent is running and can reach the server.',
    ]);
    expect(said('degraded', [off, drains], 1)).toEqual([
      '1 step is waiting for an agent. c drains and a is disabled: end the draining, enable one, or add another agent.',
    ]);
    expect(said('degraded', [stops])).toEqual(['No new step starts here. d stops: add another agent.']);
    expect(said('degraded', [drains, agent({})])).toEqual([]);
    expect(segmentWords({ health: 'offline' }, [off]).word).toBe('no agent enabled');
    expect(segmentWords({ health: 'offline' }, [off, away]).word).toBe('offline');
    expect(segmentWords({ health: 'no_agent' }, []).word).toBe('no agent yet');
  });

  it('advise on an agent whose messages the server refused, after worse problems, until it is long ago', () => {
    const lastClose = {
      code: closeCodes.invalidMessage,
      reason: 'heartbeat: held is missing',
      at: '2026-11-24T02:26:50.000Z',
      since: '2026-11-24T02:20:50.000Z',
      address: '10.0.0.1',
    };
    const agents = [agent({ state: 'silent', unknownSteps: 1, lastClose })];
    const [unknown, refused] = consequencesOf(segment({ health: 'offline' }), agents, now);
    expect(unknown?.lead).toBe('1 step is unknown.');
    expect(refused?.lead).toBe('The server does not understand dmz-1-a.');
    expect(refused?.text).toMatch(/heartbeat: held is missing.*version 0\.1\.0.*agent\.mjs/);
    expect(consequencesOf(segment({}), [agent({ lastClose })], now + 11 * 60_000)).toEqual([]);
    const replaced = { ...lastClose, code: closeCodes.replaced };
    expect(consequencesOf(segment({}), [agent({ lastClose: replaced })], now)).toEqual([]);
  });

  it('advise on an agent of another protocol version while it keeps trying', () => {
    const lastClose = {
      code: closeCodes.noCommonVersion,
      reason: 'the server speaks 2, the agent 1',
      at: '2026-11-24T02:22:50.000Z',
      since: '2026-11-24T02:00:50.000Z',
      address: '10.0.0.1',
    };
    const [, refused] = consequencesOf(
      segment({ health: 'offline' }),
      [agent({ state: 'offline', lastClose })],
      now,
    );
    expect(refused?.lead).toBe('dmz-1-a and the server have no protocol version in common.');
    expect(refused?.text).toMatch(/the server speaks 2, the agent 1.*version 0\.1\.0.*agent\.mjs/);
  });

  it('say what the owner of a root has to sign, and with which command', () => {
    const toSign = { admit: ['dmz-1-b'], remove: ['dmz-1-c'], rekey: ['dmz-1-d'], newKey: true };
    const waiting = segment({
      name: 'dmz-1',
      root: 'owner_held',
      toSign,
      keyRotationWantedAt: '2026-11-24T02:20:00.000Z',
    });
    const [signing, ...others] = consequencesOf(waiting, [agent({})], now);
    expect(signing?.text).toMatch(
      /dmz-1-b to be admitted, dmz-1-c to be removed, the new keys of dmz-1-d to be named, a new segment key/,
    );
    expect(signing?.command).toMatch(/roster sign dmz-1 --admit dmz-1-b=SHA256:… --remove dmz-1-c --key/);
    expect(others).toEqual([]);
  });

  it('say that agents report a newer roster, what may be the cause, and what to do about it', () => {
    const lostRoster = {
      agents: [
        { name: 'dmz-1-a', rosterNumber: 6 },
        { name: 'dmz-1-b', rosterNumber: 7 },
      ],
    };
    const owned = segment({ name: 'dmz-1', root: 'owner_held', lostRoster });
    const [signing] = consequencesOf(owned, [agent({})], now);
    expect(signing?.text).toMatch(
      /^dmz-1-a names roster 6, dmz-1-b names roster 7, which the server does not have\./,
    );
    expect(signing?.ways?.[0]?.text).toMatch(/where the owner signed that one, with --remove/);
    expect(signing?.ways?.[0]?.command).toMatch(/roster sign dmz-1 --key/);
    const [restored] = consequencesOf(segment({ root: 'managed', lostRoster }), [agent({})], now);
    expect(restored?.lead).toBe('2 agents report that they have seen a newer roster.');
    expect(restored?.ways?.[0]).toEqual({
      lead: 'If a backup was restored',
      text: expect.stringMatching(/: stop every server, run npm run restored/),
    });
    expect(restored?.text).not.toMatch(/nothing of the kind/);
  });

  it('say that only one agent reports a newer roster, and advise not to touch the servers because of it', () => {
    const lostRoster = { agents: [{ name: 'hostile', rosterNumber: 2_000_000_000 }] };
    const agents = [agent({ name: 'hostile' }), agent({ name: 'dmz-1-b' }), agent({ name: 'dmz-1-c' })];
    const [claimed] = consequencesOf(segment({ root: 'managed', lostRoster }), agents, now);
    expect(claimed?.lead).toBe('An agent reports that it has seen a newer roster.');
    expect(claimed?.text).toMatch(/^hostile names roster 2000000000, .* dmz-1-b, dmz-1-c don’t report this/);
    expect(claimed?.ways?.[1]).toEqual({
      lead: 'If none was restored,',
      text: expect.stringMatching(/^leave the servers alone: inspect the machine of that agent/),
    });
  });

  it('name a few of many agents that report a newer roster, and count the others', () => {
    const names = Array.from({ length: 200 }, (_, at) => `a-${at}`);
    const lostRoster = { agents: names.slice(0, 150).map((name) => ({ name, rosterNumber: 7 })) };
    const [claimed] = consequencesOf(
      segment({ root: 'managed', lostRoster }),
      names.map((name) => agent({ name })),
      now,
    );
    expect(claimed?.text).toMatch(
      /^a-0 names roster 7, a-1 names roster 7, a-2 names roster 7 and 147 more, /,
    );
    expect(claimed?.text).toMatch(/ a-150, a-151, a-152 and 47 more don’t report this\.$/);
  });

  it('say nothing about a lost roster if a server of the previous version reports none', () => {
    const { lostRoster: _, ...told } = segment({ root: 'managed' });
    expect(consequencesOf(told as Segment, [agent({})], now)).toEqual([]);
  });

  it('say what a revocation leaves to be done, and who can’t do it', () => {
    const waiting = segment({ keyRotationWantedAt: '2026-11-24T02:20:00.000Z', credentialsToRotate: 2 });
    const [key, credentials] = consequencesOf(waiting, [], now);
    expect(key?.text).toMatch(/next agent that connects or enrolls/);
    expect(credentials?.lead).toBe('2 credentials must be rotated.');
    expect(consequencesOf(waiting, [agent({})], now)[0]?.text).toMatch(
      /dmz-1-a may run a version that can’t/,
    );
  });

  it('are found by name, machine, address, state and label', () => {
    const one = agent({ hostname: 'Rack-7.example', address: '10.0.0.1', labels: { rack: '7', spare: '' } });
    for (const wanted of ['dmz-1', 'rack-7', '10.0', 'connected', 'rack=7', 'spare']) {
      expect(agentFits(one, wanted)).toBe(true);
    }
    expect(agentFits(one, 'rack=8')).toBe(false);
  });
});

it('an agent that takes nothing new for its memory or load says so', () => {
  expect(agentDetail(agent({ busyReason: 'load', loadAverage: 9 }))).toBe(
    'takes nothing new: its load is too high, load 9.00',
  );
});

it('memory and load are shown only for an agent that is connected', () => {
  const use = { rssBytes: 61_000_000, loadAverage: 0.4, address: '10.0.0.1' };
  expect(agentDetail(agent({ ...use, state: 'draining' }))).toBe('61 MB, load 0.40, 10.0.0.1');
  expect(agentDetail(agent({ ...use, state: 'disabled' }))).toBe('10.0.0.1');
});

it('a busy agent is shown as busy in addition to connected', () => {
  expect(agentWords(agent({ state: 'connected', busyReason: 'memory' }), 0).word).toBe('connected, busy');
  expect(agentWords(agent({ state: 'connected' }), 0).word).toBe('connected');
});
