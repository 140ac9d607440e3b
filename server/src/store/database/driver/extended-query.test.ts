import { expect, test } from 'vitest';
import { ReplyReader } from './extended-query.ts';

const message = (type: string, body = '') => {
  const head = Buffer.alloc(5);
  head.write(type, 'latin1');
  head.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([head, Buffer.from(body, 'latin1')]);
};
const notice = message('N', 'SWARNING\0VWARNING\0MZ\0\0\0\x05I\0\0');
const rows = [message('D', '\0\x02\0\0\0\x01a\xff\xff\xff\xff'), message('D', '\0\x01\0\0\0\0')];
const ready = message('Z', 'I');

test('an answer is found wherever it is split, and the bytes after it are returned', () => {
  const answer = Buffer.concat([
    notice,
    message('1'),
    message('2'),
    ...rows,
    message('C', 'SELECT 2\0'),
    ready,
  ]);
  const all = Buffer.concat([answer, notice]);
  for (let at = 1; at < answer.length; at += 1) {
    const reply = new ReplyReader();
    expect(reply.read(all.subarray(0, at))).toBeUndefined();
    expect(reply.read(all.subarray(at))).toEqual(notice);
    expect(reply).toMatchObject({ rows: [['a', null], ['']], hasParsed: true, error: undefined });
  }
});

test('an error has the same fields as the driver’s, and the first of several is reported', () => {
  const reply = new ReplyReader();
  const error = (text: string) => message('E', `SFEHLER\0VERROR\0C23505\0M${text}\0Wwhere\0nkey\0P7\0\0`);
  reply.read(Buffer.concat([message('2'), error('first'), error('second'), ready]));
  expect(reply.hasParsed).toBe(false);
  expect(reply.error).toEqual({
    severity_local: 'FEHLER',
    severity: 'ERROR',
    code: '23505',
    message: 'first',
    where: 'where',
    constraint_name: 'key',
    position: '7',
  });
});
