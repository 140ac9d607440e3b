import { expect, test } from 'vitest';
import { ApiError } from '../../api/client.ts';
import { AskedOnce } from './asked-once.ts';

function setup() {
  const sent: { body: string; key: string }[] = [];
  const answers: (Error | string)[] = [];
  const asked = new AskedOnce<string>();
  let made = 0;
  const ask = (what: string) =>
    asked.ask(
      what,
      () => {
        made += 1;
        return `${what} ${made}`;
      },
      async (body, key) => {
        sent.push({ body, key });
        const answer = answers.shift() ?? 'done';
        if (answer instanceof Error) throw answer;
        return answer;
      },
    );
  return { sent, answers, ask, asked };
}

test('a request without an answer is sent again unchanged, with its key', async () => {
  const t = setup();
  t.answers.push(
    new ApiError('offline', 'The server did not answer.'),
    new ApiError('unavailable', 'Later.', { status: 503 }),
  );
  await expect(t.ask('run')).rejects.toThrow('did not answer');
  await expect(t.ask('run')).rejects.toThrow('Later.');
  await t.ask('run');
  expect(t.sent.map(({ body }) => body)).toEqual(['run 1', 'run 1', 'run 1']);
  expect(new Set(t.sent.map(({ key }) => key)).size).toBe(1);
  expect(t.sent[0]?.key).toMatch(/^[0-9a-f]{32}$/);
});

test('who asks the same while the body is being made sends the same request', async () => {
  const t = setup();
  await Promise.all([t.ask('run'), t.ask('run')]);
  expect(new Set(t.sent.map(({ key, body }) => `${key} ${body}`)).size).toBe(1);
});

test('a body that can not be made is not lost, and is made anew', async () => {
  const asked = new AskedOnce<string>();
  const failing = () => Promise.reject(new Error('can not be sealed'));
  await expect(asked.ask('run', failing, async () => 'done')).rejects.toThrow('can not be sealed');
  expect(asked.lostAt).toBeUndefined();
  expect(
    await asked.ask(
      'run',
      () => 'body',
      async (body) => body,
    ),
  ).toBe('body');
});

test('a retry that was refused before the server looked at the key keeps the key', async () => {
  const t = setup();
  t.answers.push(
    new ApiError('offline', 'The server did not answer.'),
    new ApiError('rate_limited', 'Too often.', { status: 429 }),
    new ApiError('unauthenticated', 'Sign in.', { status: 401 }),
  );
  for (const said of ['did not answer', 'Too often.', 'Sign in.'])
    await expect(t.ask('run')).rejects.toThrow(said);
  await t.ask('run');
  expect(new Set(t.sent.map(({ key }) => key)).size).toBe(1);
});

test('a request that was always refused is not lost, and a lost one stays lost if a retry is refused', async () => {
  const t = setup();
  const refusals = [
    new ApiError('rate_limited', 'Too often.', { status: 429 }),
    new ApiError('unauthenticated', 'Sign in.', { status: 401 }),
    new ApiError('forbidden', 'You may not.', { status: 403 }),
  ];
  for (const refusal of refusals) {
    t.answers.push(refusal);
    await expect(t.ask('run')).rejects.toThrow(refusal);
    expect(t.asked.lostAt).toBeUndefined();
  }
  for (const answer of [new ApiError('internal', 'Failed.', { status: 500 }), ...refusals]) {
    t.answers.push(answer);
    await expect(t.ask('run')).rejects.toThrow(answer);
    expect(t.asked.lostAt).toBeGreaterThan(0);
  }
  await t.ask('run');
  expect(new Set(t.sent.slice(3).map(({ key }) => key)).size).toBe(1);
  expect(t.asked.lostAt).toBeUndefined();
});

test('a request that is refused while the same one is under way keeps its key', async () => {
  const asked = new AskedOnce<string>();
  const keys: string[] = [];
  let lose = (_: Error) => {};
  const ask = (answer: () => Promise<string>) =>
    asked.ask(
      'run',
      () => 'run',
      (_, key) => {
        keys.push(key);
        return answer();
      },
    );
  const lost = ask(
    () =>
      new Promise((_, reject) => {
        lose = reject;
      }),
  );
  await expect.poll(() => keys.length).toBe(1);
  const refused = ask(() => Promise.reject(new ApiError('rate_limited', 'Too often.', { status: 429 })));
  await expect(refused).rejects.toThrow('Too often.');
  lose(new ApiError('offline', 'The server did not answer.'));
  await expect(lost).rejects.toThrow('did not answer');
  await ask(async () => 'done');
  expect(new Set(keys).size).toBe(1);
});

test('after an answer, a refusal or a change, the next request is a new one', async () => {
  const t = setup();
  await t.ask('run');
  t.answers.push(new ApiError('invalid', 'No.', { status: 400 }));
  await expect(t.ask('run')).rejects.toThrow('No.');
  t.answers.push(new ApiError('offline', 'The server did not answer.'));
  await expect(t.ask('run')).rejects.toThrow('did not answer');
  await t.ask('another');
  expect(t.sent.map(({ body }) => body)).toEqual(['run 1', 'run 2', 'run 3', 'another 4']);
  expect(new Set(t.sent.map(({ key }) => key)).size).toBe(4);
});

test('each request without an answer keeps its key until it is answered or forgotten', async () => {
  const t = setup();
  t.answers.push(new ApiError('offline', 'Lost.'), new ApiError('offline', 'Lost.'));
  await expect(t.ask('run')).rejects.toThrow('Lost.');
  await expect(t.ask('another')).rejects.toThrow('Lost.');
  expect(t.asked.lostAt).toBeGreaterThan(0);
  await t.ask('run');
  expect(t.sent[2]).toEqual(t.sent[0]);
  t.asked.forget();
  expect(t.asked.lostAt).toBeUndefined();
  await t.ask('another');
  expect(t.sent[3]?.key).not.toBe(t.sent[1]?.key);
});
