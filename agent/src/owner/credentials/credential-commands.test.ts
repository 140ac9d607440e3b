import { expect, test } from 'vitest';
import { describeBounds } from './credential-commands.ts';

test.each([
  { hosts: ['10.0.0.9'], networks: [], ports: [22], text: 'on 10.0.0.9, port 22.' },
  {
    hosts: [],
    networks: ['10.0.0.0/8'],
    ports: [22, 2222],
    text: 'on any host in 10.0.0.0/8, port 22, 2222.',
  },
])('after sealing, the bounds are told as they hold, defaults included: $text', ({ text, ...bounds }) => {
  const all = {
    ...bounds,
    user: 'deploy',
    protocols: ['ssh' as const],
    authentication: ['password' as const],
  };
  expect(describeBounds(all)).toBe(`Agents use it as deploy only, ${text}`);
});
