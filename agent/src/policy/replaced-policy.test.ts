// Whoever may write the folder of a policy file, but not the file, puts another one in its place at the worst moment.
import { chmod, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { readPolicy } from './agent-policy.ts';

const { looked } = vi.hoisted(() => ({ looked: { at: '', afterwards: async () => {} } }));
vi.mock('node:fs/promises', async (original) => {
  const fs = await original<typeof import('node:fs/promises')>();
  const andThen = <Result>(look: (path: string, ...more: never[]) => Promise<Result>) =>
    (async (path: string, ...more: never[]) => {
      const result = await look(path, ...more);
      if (path === looked.at) await looked.afterwards();
      return result;
    }) as typeof look;
  return { ...fs, stat: andThen(fs.stat as never), open: andThen(fs.open as never) };
});

test('the policy that is read is the file whose owner was checked', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'opsconductor-policy-'));
  onTestFinished(() => rm(dir, { recursive: true }));
  const [policy, other] = [join(dir, 'policy.yaml'), join(dir, 'other.yaml')];
  await writeFile(policy, 'step_types: [ssh.exec]\n', { mode: 0o644 });
  await writeFile(other, '{}\n');
  await chmod(other, 0o666);
  looked.at = policy;
  looked.afterwards = () => rename(other, policy).catch(() => undefined);
  expect((await readPolicy(policy, join(dir, 'data'))).rules).toEqual({ step_types: ['ssh.exec'] });
  await expect(readPolicy(policy, join(dir, 'data'))).rejects.toThrow('can be changed by users other than');
});
