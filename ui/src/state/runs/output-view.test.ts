import { gzipSync } from 'node:zlib';
import type { OutputChunk, OutputState } from '@opsconductor/protocol';
import { describe, expect, it, onTestFinished } from 'vitest';
import { eventually, json, load, serveApi, stubFrames } from '../testing.ts';

const { OutputView } = await load<typeof import('./output-view.svelte.ts')>(
  'state/runs/output-view.svelte.ts',
);

const chunk = (seq: number, text: string, more: Partial<OutputChunk> = {}): OutputChunk => {
  const raw = Buffer.from(text);
  const data = gzipSync(raw, { level: 1 }).toString('base64');
  return { epoch: 1, seq, stream: 'stdout', elapsedMs: seq, rawLength: raw.length, data, ...more };
};

/** What the server has stored for step 5, in pages of at most `pageChunks`. */
interface Stored {
  chunks: OutputChunk[];
  gaps?: [number, number][];
  outputState?: OutputState;
  pageChunks?: number;
  failing?: boolean;
  expired?: boolean;
  onAsked?: () => void;
}

async function setup(stored: Stored) {
  const { asked } = await serveApi({
    '/api/v1/runs/7/steps/5/output': (_request, response, url) => {
      stored.onAsked?.();
      if (stored.failing === true)
        return json(response, { error: { code: 'unavailable', message: 'No.', requestId: 'r' } }, 503);
      if (stored.expired === true) {
        const message = 'The output of 2026-01-02 was removed.';
        return json(response, { error: { code: 'output_expired', message, requestId: 'r' } }, 410);
      }
      const after = Number(url.searchParams.get('after'));
      const attempt = Number(url.searchParams.get('attempt') ?? stored.chunks.at(-1)?.epoch ?? 1);
      const all = stored.chunks.filter((one) => one.epoch === attempt);
      json(response, {
        attempt,
        outputState: stored.outputState ?? 'open',
        lastSeq: all.at(-1)?.seq ?? 0,
        rawBytes: all.reduce((sum, one) => sum + one.rawLength, 0),
        chunks: all.filter((one) => one.seq > after).slice(0, stored.pageChunks ?? 100),
        gaps: stored.gaps ?? [],
      });
    },
  });
  const frames = stubFrames();
  const view = new OutputView(7, 5, undefined);
  onTestFinished(() => view.stop());
  const read = async () => {
    view.start(true);
    await eventually(() => view.phase).not.toBe('reading');
    frames.draw();
  };
  const take = async (...chunks: OutputChunk[]) => {
    for (const one of chunks)
      await view.take({ event: 'chunk', data: JSON.stringify({ stepId: 5, ...one }) });
    frames.draw();
  };
  const texts = () =>
    view
      .lines(0, view.rowCount)
      .map((line) =>
        line.kind === 'line'
          ? line.spans.map((span) => span.text).join('')
          : line.kind === 'marker'
            ? `[${line.marker}] ${line.text}`
            : '…',
      );
  return { view, asked, frames, read, take, texts, stored };
}

describe('the output of a step', () => {
  it('is read in pages until everything stored is here, and says where to resume', async () => {
    const t = await setup({ chunks: [1, 2, 3, 4, 5].map((seq) => chunk(seq, `${seq}\n`)), pageChunks: 2 });
    expect(t.view.position()).toBeUndefined();
    await t.read();
    expect(t.texts()).toEqual(['1', '2', '3', '4', '5']);
    expect(t.view.caughtUp).toBe(true);
    expect(t.view.position()).toBe('5.1.5');
    expect(t.asked).toHaveLength(3);
  });

  it('takes live chunks in order, each once', async () => {
    const t = await setup({ chunks: [chunk(1, 'one\n')] });
    await t.read();
    await t.take(chunk(2, 'two\n'), chunk(2, 'two\n'), chunk(1, 'one\n'), chunk(3, 'three\n'));
    expect(t.texts()).toEqual(['one', 'two', 'three']);
    expect(t.asked).toHaveLength(1);
  });

  it('reads stored chunks that turn out to be missing when a live chunk arrives', async () => {
    const t = await setup({ chunks: [chunk(1, 'one\n')] });
    await t.read();
    t.stored.chunks = [1, 2, 3, 4].map((seq) => chunk(seq, `${seq}\n`));
    await t.take(chunk(4, '4\n'));
    expect(t.texts()).toEqual(['one', '2', '3', '4']);
  });

  it('joins a line that came in two chunks, and keeps the streams separate', async () => {
    const t = await setup({
      chunks: [chunk(1, 'he'), chunk(2, 'oops\n', { stream: 'stderr' }), chunk(3, 'llo\n')],
    });
    await t.read();
    t.view.setFilter('stderr');
    expect(t.texts()).toEqual(['oops']);
    t.view.setFilter('stdout');
    expect(t.texts().join('')).toBe('hello');
  });

  it('says where chunks were lost with an agent’s disk, in the middle and at the end', async () => {
    const t = await setup({
      chunks: [chunk(1, 'one\n'), chunk(4, 'four\n')],
      gaps: [
        [2, 3],
        [5, 6],
      ],
      outputState: 'gapped',
    });
    await t.read();
    expect(t.texts()).toEqual([
      'one',
      expect.stringMatching(/^\[gap\] Chunks 2 to 3 are missing: lost with an agent’s disk/),
      'four',
      expect.stringMatching(/^\[gap\] Chunks 5 to 6 are missing: lost/),
    ]);
    expect(t.view.outputState).toBe('gapped');
  });

  it('says once that it was truncated, however often its end is read', async () => {
    const t = await setup({ chunks: [chunk(1, 'one\n')], outputState: 'truncated' });
    await t.read();
    t.view.settle();
    t.view.settle();
    await t.take();
    await eventually(() => t.asked.length).toBe(3);
    t.frames.draw();
    expect(t.texts()).toEqual(['one', expect.stringMatching(/^\[truncated\]/)]);
  });

  it('marks a chunk that can’t be read, and continues', async () => {
    const broken = chunk(2, 'two\n', { data: Buffer.from('not gzip').toString('base64') });
    const longer = chunk(3, 'three\n', { rawLength: 3 });
    const t = await setup({ chunks: [chunk(1, 'one\n'), broken, longer, chunk(4, 'four\n')] });
    await t.read();
    expect(t.texts()).toEqual([
      'one',
      expect.stringMatching(/^\[unreadable\] Chunk 2/),
      expect.stringMatching(/^\[unreadable\] Chunk 3/),
      'four',
    ]);
  });

  it('is replaced by that of a new attempt, and takes nothing more of the previous one', async () => {
    const t = await setup({ chunks: [chunk(1, 'first\n'), chunk(2, 'try\n')] });
    await t.read();
    await t.take(chunk(1, 'second\n', { epoch: 2 }), chunk(3, 'late\n'), chunk(2, 'go\n', { epoch: 2 }));
    expect(t.texts()).toEqual(['second', 'go']);
    expect(t.view.position()).toBe('5.2.2');
  });

  it('does not take output of another step', async () => {
    const t = await setup({ chunks: [] });
    t.view.start(false);
    await t.view.take({ event: 'chunk', data: JSON.stringify({ stepId: 6, ...chunk(1, 'other\n') }) });
    await t.view.take({ event: 'change', data: '{}' });
    expect(t.texts()).toEqual([]);
    expect(t.asked).toEqual([]);
  });

  it('says how many lines are new since the reader stopped following', async () => {
    const t = await setup({ chunks: [chunk(1, 'one\n')] });
    await t.read();
    expect(t.view.newLines).toBe(0);
    t.view.pause();
    await t.take(chunk(2, 'two\nthree\n'));
    t.view.pause();
    await t.take(chunk(3, 'four\n'));
    expect([t.view.following, t.view.newLines]).toEqual([false, 3]);
    t.view.follow();
    expect([t.view.following, t.view.newLines]).toEqual([true, 0]);
  });

  it('says so if it could not be read, and is read when it is retried', async () => {
    const t = await setup({ chunks: [chunk(1, 'one\n')], failing: true });
    await t.read();
    expect([t.view.phase, t.view.error?.code]).toEqual(['failed', 'unavailable']);
    t.stored.failing = false;
    t.view.settle();
    await eventually(() => t.view.phase).toBe('ready');
    t.frames.draw();
    expect(t.view.error).toBeUndefined();
    expect(t.texts()).toEqual(['one']);
  });

  it('is not said to be read again before something has arrived', async () => {
    const t = await setup({ chunks: [chunk(1, 'one\n')], failing: true });
    await t.read();
    const phases: string[] = [];
    t.stored.onAsked = () => phases.push(t.view.phase);
    await eventually(() => phases.length).toBe(1);
    t.stored.failing = false;
    await eventually(() => t.view.phase).toBe('ready');
    expect(phases).toEqual(['failed', 'failed']);
  });

  it('resumes by itself after a passing failure', async () => {
    const t = await setup({ chunks: [chunk(1, 'one\n')], failing: true });
    await t.read();
    expect([t.view.phase, t.view.error?.asksAgain]).toEqual(['failed', true]);
    t.stored.failing = false;
    await eventually(() => t.view.phase).toBe('ready');
    t.frames.draw();
    expect([t.view.error, t.texts()]).toEqual([undefined, ['one']]);
  });

  it('that was removed while reading failed is shown as expired, not as a failure', async () => {
    const t = await setup({ chunks: [], failing: true });
    await t.read();
    expect(t.view.error?.code).toBe('unavailable');
    t.stored.failing = false;
    t.stored.expired = true;
    await eventually(() => t.view.phase).toBe('ready');
    expect([t.view.error, t.view.expired]).toEqual([undefined, 'The output of 2026-01-02 was removed.']);
  });

  it('no longer changes once its reader has left', async () => {
    const t = await setup({ chunks: [chunk(1, 'one\n')] });
    await t.read();
    const { version } = t.view;
    await t.view.take({ event: 'chunk', data: JSON.stringify({ stepId: 5, ...chunk(2, 'two\n') }) });
    t.view.stop();
    await t.take(chunk(3, 'three\n'));
    expect([t.view.version, t.view.error]).toEqual([version, undefined]);
  });

  it('larger than memory drops what is far away, keeps the line numbers, and reads it again when it is shown', async () => {
    const line = `${'x'.repeat(8190)}\n`;
    const perChunk = 64;
    const chunks = Array.from({ length: 80 }, (_, at) =>
      chunk(at + 1, `${at + 1} starts\n${line.repeat(perChunk)}`),
    );
    const t = await setup({ chunks, pageChunks: 16 });
    await t.read();
    const last = chunks.length * (perChunk + 1);
    expect(t.view.rowCount).toBe(last);
    expect(t.view.readBytes).toBe(chunks.reduce((sum, one) => sum + one.rawLength, 0));
    const present = chunks.filter((_, at) => t.view.store.has(at)).length;
    expect(present).toBeGreaterThan(0);
    expect(present).toBeLessThan(chunks.length);
    expect(t.view.store.residentBytes).toBeLessThanOrEqual(32 * 1024 * 1024);
    expect(t.view.lines(0, 1)).toMatchObject([{ kind: 'pending', number: 1 }]);
    await eventually(() => {
      t.frames.draw();
      return t.view.lines(0, 1)[0]?.kind;
    }).toBe('line');
    expect(t.view.lines(0, 1)).toMatchObject([{ number: 1, spans: [{ text: '1 starts' }] }]);
  });

  it('that was removed is expired, which is not a failure', async () => {
    const { view, read } = await setup({ chunks: [], expired: true });
    await read();
    expect([view.phase, view.error]).toEqual(['ready', undefined]);
    expect(view.expired).toBe('The output of 2026-01-02 was removed.');
  });
});
