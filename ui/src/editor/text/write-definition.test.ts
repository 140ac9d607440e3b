import type { JobDefinition } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { writeDefinition } from './write-definition.ts';

const stored = {
  steps: [{ config: { timeout: 60, command: 'true', shell: 'bash' }, type: 'ssh.exec', name: 'drain' }],
  parameters: {
    channel: { default: 'all', enum: ['all'], order: 2, type: 'string' },
    packages: { items: { minLength: 1, type: 'string' }, type: 'array' },
    ticket: { order: 1, pattern: '^CHG', type: 'string' },
  },
  name: 'Patch',
} as unknown as JobDefinition;

test('a stored definition is written in reading order, its parameters in the order of their form', () => {
  const text = writeDefinition(stored);
  expect(text).toBe(`name: Patch
parameters:
  ticket:
    type: string
    pattern: ^CHG
    order: 1
  channel:
    type: string
    enum: [all]
    default: all
    order: 2
  packages:
    type: array
    items:
      type: string
      minLength: 1
steps:
  - name: drain
    type: ssh.exec
    config:
      shell: bash
      command: "true"
      timeout: 60
`);
  expect(parse(text)).toEqual(stored);
});
