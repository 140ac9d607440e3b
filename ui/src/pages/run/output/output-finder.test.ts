import { gzipSync } from 'node:zlib';
import { expect, it, onTestFinished } from 'vitest';
import { json, load, serveApi, stubFrames } from '../../../state/testing.ts';

const { OutputView } = await load<typeof import('../../../state/runs/output-view.svelte.ts')>(
  'state/runs/output-view.svelte.ts',
);
const { OutputFinder } = await load<typeof import('./output-finder.svelte.ts')>(
  'pages/run/output/output-finder.svelte.ts',
);

/** Makes a finder in an output with these texts on stdout, and notes the rows that it goes to. */
async function setup(...texts: string[]) {
  await serveApi({
    '/api/v1/runs/7/steps/5/output': (_request, response) =>
      json(response, { attempt: 1, outputState: 'open', lastSeq: 0, rawBytes: 0, chunks: [], gaps: [] }),
  });
  const frames = stubFrames();
  const view = new OutputView(7, 5, undefined);
  onTestFinished(() => view.stop());
  view.start(false);
  let seq = 0;
  const add = async (text: string) => {
    seq += 1;
    const data = gzipSync(Buffer.from(text)).toString('base64');
    const chunk = { stepId: 5, epoch: 1, seq, stream: 'stdout', elapsedMs: 0, rawLength: text.length, data };
    await view.take({ event: 'chunk', data: JSON.stringify(chunk) });
    frames.draw();
  };
  for (const text of texts) await add(text);
  const wentTo: number[] = [];
  const finder = new OutputFinder({ view, lines: undefined }, (row) => wentTo.push(row));
  return { finder, wentTo, add };
}

it('says how many matches there are, and which one is shown', async () => {
  const t = await setup('one\ntwo one\nthree\n');
  expect(t.finder.found).toBe('');
  await t.finder.search.search('one');
  expect(t.finder.found).toBe('2 found');
  t.finder.step(1);
  t.finder.step(1);
  expect(t.finder.found).toBe('2 of 2');
  expect(t.wentTo).toEqual([0, 1]);
  await t.finder.search.search('four');
  expect(t.finder.found).toBe('none');
});

it('goes to the first error, or says that there is none until more output comes', async () => {
  const t = await setup('fine\nstill fine\n');
  await t.finder.firstError();
  expect(t.wentTo).toEqual([]);
  expect(t.finder.noError).toBe(true);
  await t.add('error: the disk is full\n');
  expect(t.finder.noError).toBe(false);
  await t.finder.firstError();
  expect(t.wentTo).toEqual([2]);
  expect(t.finder.seeking).toBe(false);
});

it('a search goes on in the stream that is chosen', async () => {
  const t = await setup('one\n');
  await t.finder.search.search('one');
  t.finder.setFilter('stderr');
  await expect.poll(() => t.finder.found).toBe('none');
});
