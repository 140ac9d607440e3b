import { join } from 'node:path';
import { closeCodes } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { temporaryDirectory } from '../testing/enrolled-directory.ts';
import { readRefusal, ServerRefusalFile } from './server-refusal.ts';

const end = (code: number) => ({ code, reason: 'why', opened: true, error: undefined });
const now = new Date('2026-11-28T10:00:00Z');

test('a refusal is kept until the server lets the agent in, in whatever turn they come', async () => {
  const { path, remove } = await temporaryDirectory();
  try {
    const at = join(path, 'refusal');
    const file = new ServerRefusalFile(at);
    void file.forget();
    await file.ended(end(closeCodes.unauthenticated), now);
    expect(await readRefusal(at)).toEqual({ at: now.toISOString(), code: 4001, reason: 'why' });
    await file.ended(end(closeCodes.serverRestart), now);
    expect(await readRefusal(at)).toMatchObject({ code: 4001 });
    void file.ended(end(closeCodes.quarantined), now);
    await file.forget();
    expect(await readRefusal(at)).toBeUndefined();
  } finally {
    await remove();
  }
});
