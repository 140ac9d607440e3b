// What a run shows while it goes on, over the real wire.
import { expect, test } from 'vitest';
import { setup } from './support/system.ts';

test('output is shown while the command runs, both streams in their order, and nothing is added at the end', async () => {
  await using t = await setup();
  const gate = await t.gate();
  const { id, stepIds, reader } = await t.run([
    `echo one; echo two >&2; ${gate.wait}; echo three`,
    'echo next',
  ]);
  const [first = 0, second = 0] = stepIds;
  await reader.until(() => reader.text(first) === 'one\ntwo\n', 'the first two lines');
  expect(reader.status).toBe('running');
  await gate.open();
  expect(await reader.end()).toBe('succeeded');
  expect(reader.text(first)).toBe('one\ntwo\nthree\n');
  expect(reader.text(first, 'stderr')).toBe('two\n');
  expect(reader.text(second)).toBe('next\n');
  expect(await t.stored(id, first)).toMatchObject({ bytes: 14, sha256: reader.sha256(first) });
});
