import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const script = join(import.meta.dirname, '../scripts/start.mjs');

test('a start with too few open files allowed says so, and how to raise the limit', () => {
  const command = 'ulimit -n 40; exec "$0" "$1" --no-demo --port 0';
  const { status, stderr } = spawnSync('sh', ['-c', command, process.execPath, script], { encoding: 'utf8' });
  expect(status).toBe(1);
  expect(stderr).toMatch(/^OpsConductor may have 40 files .* ulimit -n 4096 .*\n$/);
});
