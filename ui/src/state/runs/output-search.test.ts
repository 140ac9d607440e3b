import { gzipSync } from 'node:zlib';
import { describe, expect, it, onTestFinished } from 'vitest';
import { eventually, json, load, serveApi, stubFrames } from '../testing.ts';

const { OutputView } = await load<typeof import('./output-view.svelte.ts')>(
  'state/runs/output-view.svelte.ts',
);
const { OutputSearch } = await load<typeof import('./output-search.svelte.ts')>(
  'state/runs/output-search.svelte.ts',
);

/** Makes a search in an output with these chunks. The output doesn't follow the server. */
async function setup(...chunks: (readonly [stream: 'stdout' | 'stderr', text: string])[]) {
  let isHeld = false;
  let held = 0;
  await serveApi({
    '/api/v1/runs/7/steps/5/output': (_request, response) => {
      if (isHeld) held += 1;
      else json(response, { attempt: 1, outputState: 'open', lastSeq: 0, rawBytes: 0, chunks: [], gaps: [] });
    },
  });
  const frames = stubFrames();
  const view = new OutputView(7, 5, undefined);
  onTestFinished(() => view.stop());
  view.start(false);
  let seq = 0;
  let epoch = 1;
  const nextAttempt = () => {
    epoch += 1;
    seq = 0;
  };
  const add = async (stream: 'stdout' | 'stderr', text: string) => {
    seq += 1;
    const raw = Buffer.from(text);
    const data = gzipSync(raw).toString('base64');
    const chunk = { stepId: 5, epoch, seq, stream, elapsedMs: 0, rawLength: raw.length, data };
    await view.take({ event: 'chunk', data: JSON.stringify(chunk) });
    frames.draw();
  };
  for (const [stream, text] of chunks) await add(stream, text);
  /** From now on, chunks that are read again don't arrive. */
  const hold = () => {
    isHeld = true;
  };
  return { view, search: new OutputSearch(view), add, nextAttempt, hold, held: () => held };
}

describe('finding in an output', () => {
  it('finds every match with its row, even across color changes, and wraps around', async () => {
    const t = await setup(
      ['stdout', 'error, Error\nnothing\n'],
      ['stderr', 'an \u001b[31mer\u001b[1mror\u001b[0m\n'],
    );
    await t.search.search('error');
    expect(t.search.total).toBe(3);
    expect(t.search.found).toEqual([
      { row: 0, matches: 2 },
      { row: 2, matches: 1 },
    ]);
    expect(t.search.place).toBeUndefined();
    const places = [1, 1, 1, 1].map(() => {
      t.search.step(1);
      return t.search.place;
    });
    expect(places).toEqual([
      { row: 0, nth: 0 },
      { row: 0, nth: 1 },
      { row: 2, nth: 0 },
      { row: 0, nth: 0 },
    ]);
    t.search.step(-1);
    expect(t.search.place).toEqual({ row: 2, nth: 0 });
  });

  it('starts at the first match from where the reader is', async () => {
    const t = await setup(['stdout', 'a\nb\na\nb\na\n']);
    await t.search.search('a');
    t.search.startAt(1);
    expect(t.search.place).toEqual({ row: 2, nth: 0 });
    t.search.startAt(99);
    expect(t.search.place).toEqual({ row: 4, nth: 0 });
  });

  it('continues in output that came since, and keeps its place', async () => {
    const t = await setup(['stdout', 'one fish\n']);
    await t.search.search('fish');
    t.search.step(1);
    await t.add('stdout', 'two fish\nred fish\n');
    await t.search.extend();
    expect([t.search.total, t.search.current]).toEqual([3, 0]);
    expect(t.search.found.map((found) => found.row)).toEqual([0, 1, 2]);
  });

  it('starts over in the output of a new attempt, without matches from the previous one', async () => {
    const t = await setup(['stdout', 'one fish\ntwo fish\n'], ['stdout', 'red fish\n']);
    await t.search.search('fish');
    t.search.step(1);
    t.nextAttempt();
    await t.add('stdout', 'no such thing\nblue fish\n');
    await t.search.extend();
    expect([t.search.total, t.search.current]).toEqual([1, -1]);
    expect(t.search.found).toEqual([{ row: 1, matches: 1 }]);
  });

  it('gives only the matches of the last query if it changed during the search', async () => {
    const t = await setup(['stdout', 'cat\ndog\ncat\n']);
    await Promise.all([t.search.search('cat'), t.search.search('dog')]);
    expect([t.search.query, t.search.total, t.search.searching]).toEqual(['dog', 1, false]);
    await t.search.search('');
    expect([t.search.total, t.search.found]).toEqual([0, []]);
  });

  it('searches only the stream that is shown', async () => {
    const t = await setup(['stdout', 'x\n'], ['stderr', 'x\nx\n']);
    t.view.setFilter('stderr');
    await t.search.search('x');
    expect(t.search.found.map((found) => found.row)).toEqual([0, 1]);
  });

  it('ends with its reader, even while it waits for a part of the output', async () => {
    const megabyte = `${'x'.repeat(1023)}\n`.repeat(1024);
    // More than memory holds, so the beginning has to be read again.
    const t = await setup(...Array.from({ length: 36 }, () => ['stdout', megabyte] as const));
    expect(t.view.store.has(0)).toBe(false);
    t.hold();
    const [found, error] = [t.search.search('x'), t.search.firstError()];
    await eventually(() => t.held()).toBe(2);
    t.view.stop();
    expect(await error).toBeUndefined();
    await found;
    expect([t.search.searching, t.held()]).toEqual([false, 2]);
  });

  it('goes to the first line that names an error, else to the first one on stderr, else nowhere', async () => {
    const named = await setup(['stdout', 'fine\n'], ['stderr', 'a note\n'], ['stdout', 'E: failed\n']);
    expect(await named.search.firstError()).toBe(2);
    const noted = await setup(['stdout', 'fine\n'], ['stderr', 'a note\n']);
    expect(await noted.search.firstError()).toBe(1);
    const fine = await setup(['stdout', 'fine\n']);
    expect(await fine.search.firstError()).toBeUndefined();
  });
});
