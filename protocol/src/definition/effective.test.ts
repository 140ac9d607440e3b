import { expect, test } from 'vitest';
import { effectiveDefinition } from './effective.ts';

test('what servers are set to holds where the definition does not say it, and is told as such', () => {
  const steps = [{ name: 'one', type: 'ssh.exec' as const, config: { command: 'true' } }];
  const given = effectiveDefinition({ name: 'job', steps }, { detect_secrets: true });
  expect(given.definition.detect_secrets).toBe(true);
  expect(given.defaults).toContain('detect_secrets');
  const said = effectiveDefinition({ name: 'job', steps, detect_secrets: false }, { detect_secrets: true });
  expect(said.definition.detect_secrets).toBe(false);
  expect(said.defaults).not.toContain('detect_secrets');
});
