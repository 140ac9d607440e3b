import { expect, test } from 'vitest';
import { KdcThreads } from './kdc-threads.ts';
import { openMemoryFile } from './memory-file.ts';

test('if no thread can be started the caller is told, and its request is not run by the next thread that can', async () => {
  let starts = 0;
  const names = {
    gssapi: 'libnone.so',
    // Read when a thread is started.
    get krb5() {
      starts += 1;
      if (starts <= 2) throw new Error('no more threads');
      return 'libnone.so';
    },
  };
  const threads = new KdcThreads(names);
  const asked = ['A.TEST', 'B.TEST'].map((realm) => threads.ask({} as never, realm));
  for (const answer of asked) {
    await expect(answer).rejects.toMatchObject({
      name: 'WinrmError',
      kind: 'auth_unavailable',
      message: 'This agent can not use Kerberos: no more threads.',
      advice: expect.stringContaining('TasksMax'),
    });
  }
  await expect(threads.ask({} as never, 'A.TEST')).rejects.toMatchObject({
    kind: 'auth_unavailable',
    message: expect.stringContaining('Failed to load shared library'),
    advice: expect.stringContaining('libgssapi-krb5-2'),
  });
  expect(starts).toBe(3);
});

test('a keytab for which the system has no in-memory file is reported as something that this machine can not do', () => {
  const koffi = { load: () => ({ func: () => () => -1 }) };
  expect(() => openMemoryFile(koffi as never, Buffer.from('key'))).toThrow(
    expect.objectContaining({ kind: 'auth_unavailable', advice: expect.any(String) }),
  );
});
