import type { AgentCapability, Lease } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { leaseFor } from './agent-too-old.ts';

const agentOf = (...capabilities: AgentCapability[]) => ({
  name: 'agent-a',
  can: (capability: AgentCapability) => capabilities.includes(capability),
});
const leaseOf = (config: unknown) => ({ config, target: { name: 'web-1' } }) as Lease;

test('an agent that knows the field gets it unchanged', () => {
  const lease = leaseOf({ command: 'true', survive_agent_restart: true });
  expect(leaseFor(agentOf('survive_agent_restart', 'step_limits'), lease)).toBe(lease);
});

test('an agent that does not know the field is not given it, and the step fails with words if it was needed', () => {
  const plain = leaseOf({ command: 'true', timeout: 900 });
  expect(leaseFor(agentOf(), plain)).toBe(plain);
  const config = { command: 'true', survive_agent_restart: false };
  expect(leaseFor(agentOf(), leaseOf(config))).toMatchObject({ config: { command: 'true' } });
  expect(config).toHaveProperty('survive_agent_restart');
  expect(leaseFor(agentOf(), leaseOf({ command: 'true', survive_agent_restart: true }))).toMatchObject({
    need: 'survive_agent_restart',
    outcome: { reason: 'agent_too_old', message: expect.stringContaining('agent-a') },
  });
});

test('limits are given only to an agent that supports them', () => {
  const limited = leaseOf({ command: 'true', limits: { nice: 5 }, survive_agent_restart: false });
  expect(leaseFor(agentOf('survive_agent_restart'), limited)).toMatchObject({
    need: 'step_limits',
    outcome: { reason: 'agent_too_old', message: expect.stringContaining('limit') },
  });
  expect(leaseFor(agentOf('step_limits'), limited)).toMatchObject({
    config: { command: 'true', limits: { nice: 5 } },
  });
  // The agent does that anyway.
  const cut = leaseFor(agentOf(), leaseOf({ command: 'true', on_output_limit: 'truncate' }));
  expect(cut).toMatchObject({ config: { command: 'true' } });
  expect(Object(cut).config).not.toHaveProperty('on_output_limit');
});
