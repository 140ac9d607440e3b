import { join } from 'node:path';
import { pino } from 'pino';
import { expect, onTestFinished, test, vi } from 'vitest';
import { Spool } from '../../spool/spool.ts';
import { temporaryDirectory } from '../../testing/enrolled-directory.ts';
import { AttemptOutputs } from './attempt-outputs.ts';

test('the room on the disk is looked at when a file of an attempt’s output is full, not only with heartbeats', async () => {
  const { path, remove } = await temporaryDirectory();
  onTestFinished(remove);
  const measure = vi.fn(async () => undefined);
  const outputs = new AttemptOutputs({
    spoolFolder: path,
    spareSpool: join(path, 'spare'),
    disk: { outputRefused: () => undefined, measure },
    onStored: () => undefined,
    makeRoom: async () => false,
    monotonicMs: () => 0,
    log: pino({ level: 'silent' }),
  });
  const spool = Spool.create(join(path, '1-1'), { partBytes: 1 });
  const output = outputs.goOn({ step: 1, epoch: 1 }, spool, { keepsEnds: false });
  output.write('stdout', Buffer.from('one'));
  await vi.waitFor(() => expect(output.lastSeq).toBe(1));
  expect(measure).not.toHaveBeenCalled();
  output.write('stdout', Buffer.from('two'));
  await output.close();
  expect(measure).toHaveBeenCalledTimes(1);
  await output.remove();
});
