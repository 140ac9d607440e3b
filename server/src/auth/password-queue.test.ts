import { expect, test } from 'vitest';
import { type Applicant, PasswordQueue } from './password-queue.ts';

const limits = { maxConcurrent: 1, maxKnown: 2, maxOthers: 5, maxPerAddress: 2 };

/** A queue whose work is done when the test says so. */
function setup() {
  const queue = new PasswordQueue(limits);
  const begun: string[] = [];
  const ends: (() => void)[] = [];
  const ask = (name: string, applicant: Applicant) =>
    queue.run(applicant, async () => {
      begun.push(name);
      await new Promise<void>((resolve) => ends.push(resolve));
      return name;
    });
  /** Ends the work that goes on; the next has begun when it returns. */
  const endOne = async (work: Promise<unknown>) => {
    ends.shift()?.();
    await work;
  };
  return { ask, begun, endOne, queue };
}

const from = (address: string): Applicant => ({ address, isKnown: false });
const known: Applicant = { address: '10.0.0.1', isKnown: true };

test('addresses take turns, and who is known goes first', async () => {
  const { ask, begun, endOne } = setup();
  const works = [
    ask('a1', from('a')),
    ask('a2', from('a')),
    ask('a3', from('a')),
    ask('b1', from('b')),
    ask('known', known),
  ];
  for (const _ of works) {
    const current = works.find((_, i) => ['a1', 'a2', 'a3', 'b1', 'known'][i] === begun.at(-1));
    await endOne(current ?? Promise.reject(new Error('nothing goes on')));
  }
  expect(begun).toEqual(['a1', 'known', 'a2', 'b1', 'a3']);
});

test('an address that floods fills its own places only, and gives one up to an address that has none', async () => {
  const { ask } = setup();
  void ask('a1', from('a'));
  void ask('a2', from('a'));
  const last = ask('a3', from('a'));
  await expect(ask('a4', from('a'))).rejects.toMatchObject({ code: 'unavailable', retryAfterS: 5 });
  for (const address of ['b', 'c', 'd']) void ask(address, from(address));
  void ask('e', from('e'));
  await expect(last).rejects.toMatchObject({ code: 'unavailable', retryAfterS: 5 });
  // Now each of five has one place: there is nobody to take from.
  await expect(ask('f', from('f'))).rejects.toMatchObject({ code: 'unavailable' });
  await expect(ask('b2', from('b'))).rejects.toMatchObject({ code: 'unavailable' });
});

test('strangers who fill their places leave those of the known', async () => {
  const { ask } = setup();
  for (const address of ['a', 'b', 'c', 'd', 'e', 'f']) void ask(address, from(address));
  void ask('k1', known);
  void ask('k2', known);
  await expect(ask('k3', known)).rejects.toMatchObject({ code: 'unavailable' });
});

test('work that fails gives its place back', async () => {
  const { queue } = setup();
  const failing = () =>
    queue.run(from('a'), async () => {
      throw new Error('broken');
    });
  await expect(failing()).rejects.toThrow('broken');
  await expect(failing()).rejects.toThrow('broken');
  expect(await queue.run(from('b'), async () => 'fine')).toBe('fine');
});
