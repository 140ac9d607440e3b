import { describe, expect, it } from 'vitest';
import { load } from './testing.ts';

const { Action } = await load<typeof import('./action.svelte.ts')>('state/action.svelte.ts');
const { announcer } = await load<typeof import('./announcer.svelte.ts')>('state/announcer.svelte.ts');
const { ApiError } = await load<typeof import('../api/client.ts')>('api/client.ts');

describe('an action', () => {
  it('does not run a second time while it is under way', async () => {
    const action = new Action();
    let open = () => {};
    const gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    let done = 0;
    const first = action.run(async () => {
      await gate;
      done += 1;
    });
    expect(action.busy).toBe(true);
    expect(
      await action.run(async () => {
        done += 1;
      }),
    ).toBe(false);
    open();
    expect(await first).toBe(true);
    expect([done, action.busy]).toEqual([1, false]);
  });

  it('keeps why it failed until it is retried, and gives a failure that isn’t from the server a code', async () => {
    const action = new Action();
    const refused = new ApiError('conflict', 'It is in use.');
    expect(await action.run(() => Promise.reject(refused))).toBe(false);
    expect(action.error).toBe(refused);
    await action.run(() => Promise.reject(new Error('sealing failed')));
    expect(action.error).toMatchObject({ code: 'internal', message: 'sealing failed' });
    await action.run(() => Promise.resolve());
    expect(action.error).toBeUndefined();
  });

  it('announces what was done, and nothing if it failed', async () => {
    const action = new Action();
    await action.run(() => Promise.reject(new Error('in use')), 'web-1 deleted');
    expect(announcer.text).not.toContain('web-1');
    await action.run(() => Promise.resolve(), 'web-1 deleted');
    expect(announcer.text).toBe('web-1 deleted');
    // Other tests share the announcer, and what is said next would have this in front of it.
    announcer.say('');
  });
});
