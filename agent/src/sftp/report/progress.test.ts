import { expect, onTestFinished, test } from 'vitest';
import { RateLimit } from '../copy/rate-limit.ts';
import { shownPath } from '../tree/shown-path.ts';
import { ProgressMeter } from './progress-meter.ts';
import { TransferReport } from './transfer-report.ts';

test('progress contains what is done, what is known to be left, and the rate of the last seconds', () => {
  let now = 0;
  const meter = new ProgressMeter(
    () => undefined,
    () => now,
  );
  meter.found(1_000);
  meter.found(500);
  meter.began('a');
  expect(meter.sample()).toMatchObject({
    files: 0,
    filesTotal: 2,
    bytesTotal: 1_500,
    isCounted: false,
    current: 'a',
  });
  now = 2_000;
  meter.moved(1_000);
  meter.ended('a');
  meter.counted();
  expect(meter.sample()).toMatchObject({ files: 1, bytes: 1_000, bytesPerSecond: 500, isCounted: true });
  for (now = 3_000; now <= 12_000; now += 1_000) meter.sample();
  expect(meter.sample()).toMatchObject({ bytesPerSecond: 0 });
});

test('bytes that were there already, and those that are sent again, are no part of the rate', () => {
  let now = 0;
  const meter = new ProgressMeter(
    () => undefined,
    () => now,
  );
  meter.found(10_000);
  meter.sample();
  meter.isThere(6_000);
  now = 1_000;
  expect(meter.sample()).toMatchObject({ bytes: 6_000, bytesTotal: 10_000, bytesPerSecond: 0 });
  meter.moved(3_000);
  now = 2_000;
  meter.isThere(-1_000);
  expect(meter.sample()).toMatchObject({ bytes: 8_000, bytesPerSecond: 1_500 });
});

test('the first report has the rate since the beginning', () => {
  let now = 0;
  const meter = new ProgressMeter(
    () => undefined,
    () => now,
  );
  meter.start();
  onTestFinished(() => meter.stop());
  meter.moved(1_000);
  now = 500;
  expect(meter.sample()).toMatchObject({ bytesPerSecond: 2_000 });
});

test('a limit admits the first bytes at once and delays the rest', () => {
  let now = 0;
  const limit = new RateLimit(1_000, () => now);
  expect(limit.waitMs(500)).toBe(0);
  expect(limit.waitMs(500)).toBe(500);
  now = 5_000;
  expect(limit.waitMs(100)).toBe(0);
});

test('names that are not plain text on one line are shown with escapes', () => {
  expect(shownPath('/srv/a b')).toBe('/srv/a b');
  expect(shownPath('a\nb\u001b[2Jc\u202ed\\')).toBe('"a\\nb\\x1b[2Jc\\u202ed\\\\"');
});

test('a report counts everything and lists a limited part of it, failures first', () => {
  const report = new TransferReport();
  for (let n = 0; n < 2_000; n += 1) {
    report.count('created');
    report.done(() => ({ operation: 'upload', localPath: `f${n}`, bytesTransferred: 1 }));
  }
  report.fail('bad', { code: 'EACCES' }, { operation: 'upload', localPath: 'bad', bytesTransferred: 0 });
  expect(report.totals).toMatchObject({ created: 2_000, failed: 1 });
  expect(report.rows.length).toBeLessThanOrEqual(500);
  expect(report.rows[0]).toMatchObject({ localPath: 'bad', status: 'failed' });
  expect(report.commonReason).toBe('permission_denied');
  report.fail('worse', { code: 'ENOSPC' }, { operation: 'upload', bytesTransferred: 0 });
  expect(report.commonReason).toBe('transfer_failed');
});
