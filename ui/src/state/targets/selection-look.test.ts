import type { SelectTargetsReply, TargetSelection } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { eventually, load } from '../testing.ts';

const { SelectionLook, readBlocked } = await load<typeof import('./selection-look.svelte.ts')>(
  'state/targets/selection-look.svelte.ts',
);
const { ApiError } = await load<typeof import('../../api/client.ts')>('api/client.ts');
const reply = (total: number, more: Partial<SelectTargetsReply> = {}): SelectTargetsReply => ({
  total,
  runnable: total,
  segments: [],
  problems: [],
  notes: [],
  items: [],
  nextCursor: null,
  ...more,
});

test('only the last of several changes is looked up, and until then the selection counts as unsettled', async () => {
  const asked: TargetSelection[] = [];
  const look = new SelectionLook(async (selection) => {
    asked.push(selection);
    return reply(4);
  });
  look.follow({ selector: 'e' });
  look.follow({ selector: 'env' });
  expect(look.settled).toBe(false);
  await eventually(() => look.settled).toBe(true);
  expect(asked).toEqual([{ selector: 'env' }]);
  expect(look.reply?.total).toBe(4);
  look.follow({ selector: 'env' });
  expect(look.settled).toBe(true);
  look.follow(undefined);
  expect(look.reply).toBeUndefined();
});

test('the answer for a selection that has since changed is not shown', async () => {
  const answers: ((reply: SelectTargetsReply) => void)[] = [];
  const look = new SelectionLook(() => new Promise((resolve) => answers.push(resolve)));
  look.follow({ selector: 'a' });
  await eventually(() => answers.length).toBe(1);
  look.follow({ selector: 'b' });
  answers[0]?.(reply(1));
  await eventually(() => answers.length).toBe(2);
  expect(look.settled).toBe(false);
  answers[1]?.(reply(2));
  await eventually(() => look.reply?.total).toBe(2);
});

test('a failed look is retried; a refused one is not', async () => {
  const asked: TargetSelection[] = [];
  const answers = [
    new ApiError('offline', 'The server did not answer.'),
    reply(3),
    new ApiError('forbidden', 'Not here.'),
  ];
  const look = new SelectionLook(async (selection) => {
    asked.push(selection);
    const answer = answers.shift() ?? expect.fail('asked again');
    if (answer instanceof ApiError) throw answer;
    return answer;
  });
  look.follow({ selector: 'a' });
  await eventually(() => look.isLost).toBe(true);
  expect(look.error?.asksAgain).toBe(true);
  await eventually(() => look.reply?.total).toBe(3);
  expect([look.isLost, look.error, asked.length]).toEqual([false, undefined, 2]);
  look.follow({ selector: 'b' });
  await eventually(() => look.error?.code).toBe('forbidden');
  expect([look.isLost, look.error?.asksAgain]).toEqual([false, false]);
  look.stop();
});

test('blocked targets are read until all are found, and no further', async () => {
  const item = (id: number, problem: 'inactive' | null) => ({
    id,
    name: `${id}`,
    segmentId: 1,
    segmentName: 's',
    host: 'h',
    problem,
  });
  const pages = [
    reply(9, { runnable: 7, items: [item(1, null), item(2, 'inactive')], nextCursor: '1' }),
    reply(9, { runnable: 7, items: [item(3, 'inactive')], nextCursor: '2' }),
  ];
  const blocked = await readBlocked(
    async ({ cursor }) => pages[Number(cursor ?? 0)] ?? expect.fail('read on'),
  );
  expect(blocked.map(({ id }) => id)).toEqual([2, 3]);
});
