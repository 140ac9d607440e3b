// docs/protocol.md lists all capabilities of agents and servers, for anyone who writes an agent.
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { agentCapabilities, agentDemands, serverCapabilities } from '@opsconductor/protocol';
import { expect, test } from 'vitest';

const page = readFileSync(join(resolve(import.meta.dirname, '..'), 'docs/protocol.md'), 'utf8');

/** Returns the names in the first column of the table with this header. */
function tableOf(head: string): string[] {
  const [, table = ''] = page.split(`\n| ${head} |`);
  return (table.split('\n\n')[0] ?? '')
    .split('\n')
    .slice(2)
    .flatMap((row) => [...(row.split('|')[1] ?? '').matchAll(/`([^`]+)`/g)].map(([, name]) => name ?? ''));
}

test('the tables list exactly the capabilities of agents and of servers', () => {
  const ofAgents = tableOf('capability').filter((name) => name !== 'agentDemands');
  expect(ofAgents.toSorted()).toEqual([...agentCapabilities, ...agentDemands].toSorted());
  expect(tableOf('capability of servers').toSorted()).toEqual([...serverCapabilities].toSorted());
});
