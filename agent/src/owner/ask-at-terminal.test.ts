import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { askAtTerminal } from './ask-at-terminal.ts';

function setup(isHidden: boolean) {
  const [input, output] = [new PassThrough(), new PassThrough()];
  return {
    input,
    answer: askAtTerminal('Passphrase: ', isHidden, { input, output }),
    shown: () => text(output.end()),
  };
}

test('a hidden answer is not shown while it is typed', async () => {
  const t = setup(true);
  t.input.write('correct horse\r');
  expect(await t.answer).toBe('correct horse');
  expect(await t.shown()).toBe('Passphrase: \n');
});

test.each([true, false])(
  'Ctrl-C and Ctrl-D end the question with a message (hidden: %s)',
  async (isHidden) => {
    for (const key of ['\u0003', '\u0004']) {
      const t = setup(isHidden);
      t.input.write(key);
      await expect(t.answer).rejects.toMatchObject({ message: expect.stringContaining('nothing was done') });
    }
  },
);
