import { expect, test } from 'vitest';
import { WaitingRequests } from './waiting-requests.ts';

function setup() {
  const waiting = new WaitingRequests();
  const woken: string[] = [];
  return {
    waiting,
    woken,
    wait: (name: string, key: string) => waiting.wait(key, undefined).then(() => void woken.push(name)),
  };
}

test('a freed place wakes the oldest request that can use it, before those for other connections', async () => {
  const { waiting, wait, woken } = setup();
  wait('other', 'b');
  const first = wait('first', 'a');
  wait('second', 'a');
  waiting.wakeOne('a');
  await first;
  expect(woken).toEqual(['first']);
});

test('a freed place that nobody can use as it is wakes the oldest of all', async () => {
  const { waiting, wait, woken } = setup();
  const first = wait('first', 'b');
  wait('second', 'c');
  waiting.wakeOne('a');
  await first;
  expect(woken).toEqual(['first']);
});

test('a request that gave up takes no wake-up from the others', async () => {
  const { waiting, wait, woken } = setup();
  const giveUp = new AbortController();
  const impatient = waiting.wait('a', giveUp.signal);
  const patient = wait('patient', 'a');
  giveUp.abort(new Error('enough'));
  await expect(impatient).rejects.toThrow('enough');
  waiting.wakeOne('a');
  await patient;
  expect(woken).toEqual(['patient']);
});

test('all are woken at once, whatever they wait for', async () => {
  const { waiting, wait, woken } = setup();
  const all = [wait('first', 'a'), wait('second', 'b')];
  waiting.wakeAll();
  await Promise.all(all);
  expect(woken).toEqual(['first', 'second']);
});
