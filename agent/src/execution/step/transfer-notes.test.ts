import { expect, test } from 'vitest';
import { Masking } from '../../masking/masking.ts';
import { PatternSet } from '../../masking/pattern-set.ts';
import { TransferNotes } from './transfer-notes.ts';

test('a secret in a file name is masked every time the name is reported, and counted once', () => {
  const masking = Masking.of(new PatternSet([]), true);
  const told: (string | undefined)[] = [];
  const notes = new TransferNotes(masking, ({ current }) => told.push(current));
  const name = `/tmp/ghp_${'a1B2'.repeat(9)}`;
  const so = { files: 0, bytes: 0, filesTotal: 1, bytesTotal: 1, isCounted: true, bytesPerSecond: 0 };
  for (const _ of [1, 2, 3]) notes.progress({ ...so, current: name });
  const row = { localPath: name, status: 'done' };
  notes.report({ totals: {}, rows: [row] } as unknown as Parameters<TransferNotes['report']>[0]);
  expect(told).toEqual(Array(3).fill('/tmp/********'));
  expect(notes.told.transfers?.rows).toEqual([{ ...row, localPath: '/tmp/********' }]);
  expect(masking.detections).toEqual([{ kind: 'github_token', place: 'text', count: 1 }]);
});
