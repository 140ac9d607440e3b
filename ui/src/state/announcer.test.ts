import { expect, it, vi } from 'vitest';
import { load } from './testing.ts';

const { announcer } = await load<typeof import('./announcer.svelte.ts')>('state/announcer.svelte.ts');

it('a repeated announcement is a different text, so that it is read out again', () => {
  const heard = ['Saved', 'Saved', 'Saved', 'Deleted'].map((text) => {
    announcer.say(text);
    return announcer.text;
  });
  expect(heard.map((text) => text.trim())).toEqual(['Saved', 'Saved', 'Saved', 'Deleted']);
  expect(heard.some((text, at) => text === heard[at - 1])).toBe(false);
});

it('what was done is announced at once, and with what follows in the next moment, which would cut it off', () => {
  let now = 0;
  using clock = vi.spyOn(performance, 'now').mockImplementation(() => now);
  announcer.sayDone('Web servers deleted');
  expect(announcer.text).toBe('Web servers deleted');
  now += 900;
  announcer.say('Target groups');
  expect(announcer.text).toBe('Web servers deleted. Target groups');
  announcer.say('Databases');
  expect(announcer.text).toBe('Databases');
  announcer.sayDone('Databases deleted');
  now += 1_100;
  announcer.say('Jobs');
  expect(announcer.text).toBe('Jobs');
  expect(clock).toHaveBeenCalled();
});
