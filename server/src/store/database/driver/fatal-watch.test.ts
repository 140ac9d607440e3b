import { expect, test } from 'vitest';
import { FatalWatch } from './fatal-watch.ts';

function message(type: string, body: string): Buffer {
  const head = Buffer.alloc(5);
  head.write(type);
  head.writeUInt32BE(4 + Buffer.byteLength(body), 1);
  return Buffer.concat([head, Buffer.from(body)]);
}
const error = (severity: string) =>
  message('E', `SERREUR\0V${severity}\0C57P01\0Mterminating connection\0DOf another.\0HTry again.\0\0`);
const saidWith = (severity: string) => ({
  ...{ severity_local: 'ERREUR', severity, code: '57P01', message: 'terminating connection' },
  ...{ detail: 'Of another.', hint: 'Try again.' },
});
const ready = message('Z', 'I');
const row = message('D', 'E'.repeat(30));
const before = Buffer.concat([message('R', '\0\0\0\0'), ready, row, error('ERROR'), ready]);

test.each(['FATAL', 'PANIC'])(
  '%s is found wherever the stream is split, and everything before it is passed on',
  (severity) => {
    const stream = Buffer.concat([before, error(severity)]);
    for (let size = 1; size <= stream.length; size += 1) {
      const watch = new FatalWatch();
      const passed: Buffer[] = [];
      let found: unknown;
      for (let at = 0; at < stream.length && found === undefined; at += size) {
        const read = watch.read(stream.subarray(at, at + size));
        passed.push(Buffer.from(read.passed));
        found = read.fatal;
      }
      expect(found).toEqual({ said: saidWith(severity), isRefusal: false });
      expect(Buffer.concat(passed)).toEqual(before);
    }
  },
);

test('an error before the connection is ready counts as a refused login', () => {
  const begin = message('R', '\0\0\0\0');
  expect(new FatalWatch().read(Buffer.concat([begin, error('FATAL')]))).toEqual({
    passed: begin,
    fatal: { said: saidWith('FATAL'), isRefusal: true },
  });
});
