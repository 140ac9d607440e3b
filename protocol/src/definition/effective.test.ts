import { expect, test } from 'vitest';
import { effectiveDefinition } from './effective.ts';

test('server settings apply if the definition omits them, and are listed as defaults', () => {
  const steps = [{ name: 'one', type: 'ssh.exec' as const, config: { command: 'true' } }];
  const given = effectiveDefinition({ name: 'job', steps }, { detect_secrets: true });
  expect(given.definition.detect_secrets).toBe(true);
  expect(given.defaults).toContain('detect_secrets');
  const said = effectiveDefinition({ name: 'job', steps, detect_secrets: false }, { detect_secrets: true });
  expect(said.definition.detect_secrets).toBe(false);
  expect(said.defaults).not.toContain('detect_secrets');
});
