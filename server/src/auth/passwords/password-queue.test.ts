import { expect, test } from 'vitest';
import { type Applicant, PasswordQueue } from './password-queue.ts';

const limits = { maxConcurrent: 1, maxKnown: 2, maxOthers: 5, maxPerAddress: 2 };

/** Returns a queue whose work ends when the test says so. */
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
  /** Ends the work in progress; when it returns, the next one has begun. */
  const endOne = async (work: Promise<unknown>) => {
    ends.shift()?.();
    await work;
  };
  return { ask, begun, endOne, queue };
}

const from = (address: string): Applicant => ({ address, isKnown: false });
const known: Applicant = { address: '10.0.0.1', isKnown: true };

test('addresses take turns, and known applicants go first', async () => {
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

test('an address that floods fills only its own places, and loses one to an address that has none', async () => {
  const { ask } = setup();
  void ask('a1', from('a'));
  void ask('a2', from('a'));
  const last = ask('a3', from('a'));
  await expect(ask('a4', from('a'))).rejects.toMatchObject({ code: 'unavailable', retryAfterS: 5 });
  for (const address of ['b', 'c', 'd']) void ask(address, from(address));
  void ask('e', from('e'));
  await expect(last).rejects.toMatchObject({ code: 'unavailable', retryAfterS: 5 });
  // Each of the five has one place now, so there is nobody to take one from.
  await expect(ask('f', from('f'))).rejects.toMatchObject({ code: 'unavailable' });
  await expect(ask('b2', from('b'))).rejects.toMatchObject({ code: 'unavailable' });
});

test('unknown applicants can’t take the places of known ones', async () => {
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
