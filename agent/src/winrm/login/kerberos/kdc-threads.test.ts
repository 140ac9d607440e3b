import { expect, test } from 'vitest';
import { KdcThreads } from './kdc-threads.ts';

test('whoever asks is told that no thread can be started, and is not asked for again by the next that can', async () => {
  let starts = 0;
  const names = {
    gssapi: 'libnone.so',
    // What a thread is given is read when it is started.
    get krb5() {
      starts += 1;
      if (starts <= 2) throw new Error('no more threads');
      return 'libnone.so';
    },
  };
  const threads = new KdcThreads(names);
  const asked = ['A.TEST', 'B.TEST'].map((realm) => threads.ask({} as never, realm));
  for (const answer of asked) await expect(answer).rejects.toThrow('no more threads');
  await expect(threads.ask({} as never, 'A.TEST')).rejects.toThrow('Failed to load shared library');
  expect(starts).toBe(3);
});
