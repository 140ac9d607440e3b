// Node leaves out a program's streams if no file descriptor was left for them. That was seen with `ulimit -n` and is
// simulated here.
import { EventEmitter } from 'node:events';
import { expect, test, vi } from 'vitest';
import { readSource } from './read-source.ts';

vi.mock('node:child_process', () => ({
  spawn: () => {
    const child = new EventEmitter();
    process.nextTick(() => child.emit('error', Object.assign(new Error('spawn EMFILE'), { code: 'EMFILE' })));
    return child;
  },
}));

test('if no file descriptor is left for a program, that is a problem of the source, not the end of the agent', async () => {
  const bounds = { hosts: ['*'], ports: [22], user: '*' };
  await expect(readSource({ name: 'deploy', command: ['/bin/true'], bounds }, {})).rejects.toMatchObject({
    message: 'is a program that can not be started (EMFILE)',
    advice: expect.stringContaining('file descriptors'),
  });
});
