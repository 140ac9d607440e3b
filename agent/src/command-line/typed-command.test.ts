import { expect, test } from 'vitest';
import { typedCommand } from './typed-command.ts';

test('the command is shown as it was called: with a relative path, or with an absolute one if it is elsewhere', () => {
  expect(typedCommand('/opt/opsconductor/agent.mjs', '/opt/opsconductor')).toBe('node agent.mjs');
  expect(typedCommand('/src/scripts/opsconductor.mjs', '/src')).toBe('node scripts/opsconductor.mjs');
  expect(typedCommand('/opt/opsconductor/agent.mjs', '/root')).toBe('node /opt/opsconductor/agent.mjs');
  expect(typedCommand('/opt/opsconductor/agent.mjs', undefined)).toBe('node /opt/opsconductor/agent.mjs');
});

test('an executable is called without node, and by a path, because the current folder is on no PATH', () => {
  const program = '/opt/opsconductor/opsconductor-agent';
  expect(typedCommand(program, '/opt/opsconductor', true)).toBe('./opsconductor-agent');
  expect(typedCommand(program, '/opt', true)).toBe('./opsconductor/opsconductor-agent');
  expect(typedCommand(program, '/root', true)).toBe(program);
});
