import { expect, test } from 'vitest';
import { fetchingWords, leftOut, movesFiles, progressWords, shareOf, totalsWords } from './transfer-words.ts';

const progress = {
  files: 3,
  filesTotal: 12,
  bytes: 45_000_000,
  bytesTotal: 120_000_000,
  bytesPerSecond: 12_000_000,
  isCounted: true,
};
const totals = {
  created: 2,
  changed: 0,
  unchanged: 1_840,
  deleted: 0,
  failed: 1,
  directories: 1,
  links: 0,
  bytes: 12_000,
};

test('progress says how much of the total is done, and how long the rest takes', () => {
  expect(progressWords(progress)).toBe('3 of 12 files, 45 MB of 120 MB, 12 MB/s, 7 s left');
  expect(shareOf(progress)).toBe(0.375);
});

test('there is no percentage while files are still being found', () => {
  const open = { ...progress, isCounted: false };
  expect(progressWords(open)).toBe('3 files, 45 MB, 12 MB/s');
  expect(shareOf(open)).toBeUndefined();
  expect(shareOf({ ...open, filesTotal: 1 })).toBe(0.375);
});

test('before its step begins, a file is on its way to the agent, and is not counted yet', () => {
  const fetching = { ...progress, files: 0, filesTotal: 1, isCounted: false };
  expect(fetchingWords(fetching)).toBe('to the agent: 45 MB of 120 MB, 12 MB/s, 7 s left');
});

test('totals name what there is, failures first', () => {
  expect(totalsWords(totals, [{ status: 'completed' }])).toBe(
    '1 failed, 2 created, 1,840 unchanged, 1 directory; 12 kB',
  );
  const none = { ...totals, created: 0, unchanged: 0, failed: 0, directories: 0, bytes: 0 };
  expect(totalsWords(none, [])).toBe('no file completed; 0 B');
});

test('totals of a dry run say what it would do, not what was done', () => {
  const planned = { ...totals, changed: 3, deleted: 4, failed: 0, bytes: 0 };
  expect(totalsWords(planned, [{ status: 'planned' }])).toBe(
    'dry run: 2 to create, 3 to change, 1,840 unchanged, 4 to delete, 1 directory',
  );
});

test('files without a line of their own are counted', () => {
  expect(leftOut(totals, [])).toBe(3);
});

test('the steps that move files are known by their types', () => {
  expect(['sftp.sync', 'ssh.copy', 'winrm.copy', 'ssh.exec'].map(movesFiles)).toEqual([
    true,
    true,
    true,
    false,
  ]);
});
