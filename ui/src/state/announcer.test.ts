import { expect, it } from 'vitest';
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
