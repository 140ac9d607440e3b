import { expect, test } from 'vitest';
import { typedCommand } from './typed-command.ts';

test('a program is called as it was: by a path from here, or by a whole one where it is elsewhere', () => {
  expect(typedCommand('/opt/opsconductor/agent.mjs', '/opt/opsconductor')).toBe('node agent.mjs');
  expect(typedCommand('/src/scripts/opsconductor.mjs', '/src')).toBe('node scripts/opsconductor.mjs');
  expect(typedCommand('/opt/opsconductor/agent.mjs', '/root')).toBe('node /opt/opsconductor/agent.mjs');
});
