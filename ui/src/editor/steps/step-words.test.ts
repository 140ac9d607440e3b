import { stepConfigSchema } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import type { FieldSchema } from '../fields/field-kinds.ts';
import { newStep } from './step-words.ts';

const configOf = (type: string) => newStep(type, stepConfigSchema(type) as FieldSchema, []).config;

test('a new copy comes from an uploaded file, which needs no directory on the agent’s machine', () => {
  expect(configOf('sftp.upload')).toEqual({ file: 'example', remote_path: '/tmp/example' });
  expect(configOf('ssh.copy')).toEqual({ file: 'example', remote_path: '/tmp/example' });
});

test('a new download goes to the agent', () => {
  expect(configOf('sftp.download')).toEqual({
    remote_path: '/tmp/example',
    local_path: '/srv/files/example',
  });
});
