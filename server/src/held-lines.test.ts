import { expect, test } from 'vitest';
import { HeldLines } from './held-lines.ts';
import { createLog } from './log.ts';

function setup(plain: boolean) {
  const written: string[] = [];
  const lines = new HeldLines({ write: (line) => written.push(line) });
  const log = createLog({ level: 'debug', plain, destination: lines });
  const messages = () => written.map((line) => /begins|goes on|warns|ends/.exec(line)?.[0]);
  return { lines, log, messages };
}

test.each([true, false])('lines wait for the end of a hold, in their order (plain: %s)', (plain) => {
  const { lines, log, messages } = setup(plain);
  log.info('it begins');
  expect(messages()).toEqual(['begins']);
  lines.hold();
  log.info({ level: 'of a value: warn' }, 'it goes on');
  log.debug('it ends');
  expect(messages()).toEqual(['begins']);
  lines.release();
  expect(messages()).toEqual(['begins', 'goes on', 'ends']);
  log.info('it begins');
  expect(messages()).toHaveLength(4);
});

test.each([true, false])('a warning is written at once, behind what came before it (plain: %s)', (plain) => {
  const { lines, log, messages } = setup(plain);
  lines.hold();
  log.info('it begins');
  log.warn('it warns');
  log.info('it goes on');
  expect(messages()).toEqual(['begins', 'warns']);
});

test('no more than a thousand lines are held', () => {
  const { lines, log, messages } = setup(false);
  lines.hold();
  for (let n = 0; n < 1_001; n += 1) log.info('it goes on');
  expect(messages()).toHaveLength(1_000);
});
