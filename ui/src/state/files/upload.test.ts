import { createHash, randomBytes } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { limits, type StoredFile } from '@opsconductor/protocol';
import { expect, onTestFinished, test, vi } from 'vitest';
import { eventually, json, load, serveApi } from '../testing.ts';

const { Upload, triesForMs } = await load<typeof import('./upload.svelte.ts')>(
  'state/files/upload.svelte.ts',
);
const { pieceWithinMs } = await load<typeof import('../../api/files.ts')>('api/files.ts');
const { contentPartBytes } = limits;
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
const bytes = randomBytes(9_000_000);
const fields = { name: 'app.tar' };

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of request) pieces.push(piece as Buffer);
  return Buffer.concat(pieces);
}

/**
 * A server that has the first bytes of the file, and stands still once it has `most`. `away` is called for each request
 * about the file, and says whether the connection is cut; if it says `late`, of content after it was stored, and the file
 * itself gets no answer.
 */
async function setup({ arrived = Buffer.alloc(0), most = Number.POSITIVE_INFINITY } = {}) {
  const server = {
    ...{ arrived, most, finished: false, offsets: [] as number[] },
    away: (_what: 'file' | 'content' | 'finish'): boolean | 'late' => false,
  };
  const file = () => ({ id: 'f', size: bytes.length, receivedBytes: server.arrived.length }) as StoredFile;
  const { asked } = await serveApi({
    '/api/v1/files': (_, response) => json(response, file(), 201),
    '/api/v1/files/f': (_, response) => {
      const away = server.away('file');
      if (away === true) response.destroy();
      else if (away !== 'late') json(response, file());
    },
    '/api/v1/files/f/received': (_, response) =>
      json(response, { receivedBytes: server.arrived.length, sha256: sha256(server.arrived) }),
    '/api/v1/files/f/content': async (request, response, url) => {
      const offset = Number(url.searchParams.get('offset'));
      const piece = await bodyOf(request);
      server.offsets.push(offset);
      const away = server.away('content');
      if (away === true) return response.destroy();
      if (offset !== server.arrived.length) {
        const details = [{ path: 'query.offset', message: 'It is elsewhere.' }];
        const error = { code: 'conflict', message: 'It is elsewhere.', requestId: 'r', details };
        return json(response, { error }, 409);
      }
      if (offset >= server.most) return;
      server.arrived = Buffer.concat([server.arrived, piece]);
      if (away === 'late') response.destroy();
      else json(response, file());
    },
    '/api/v1/files/f/finish': (_, response) => {
      server.finished = true;
      if (server.away('finish')) response.destroy();
      else json(response, file());
    },
  });
  return { server, asked, file };
}

test('a file goes in whole pieces, and is finished once all of it is there', async () => {
  const { server } = await setup();
  const upload = new Upload();
  expect(await upload.run(new File([bytes], 'app.tar'), fields)).toBe(true);
  expect(server.arrived.equals(bytes)).toBe(true);
  expect(server.finished).toBe(true);
  for (const offset of server.offsets) expect(offset % contentPartBytes).toBe(0);
  expect([upload.phase, upload.doneBytes, upload.allBytes]).toEqual([undefined, bytes.length, bytes.length]);
});

test('an upload that was stopped goes on where it was, without comparing the file that it began with', async () => {
  const { server, asked } = await setup({ most: 2_000_000 });
  const upload = new Upload();
  const file = new File([bytes], 'app.tar');
  const running = upload.run(file, fields);
  await eventually(() => server.offsets.at(-1) ?? 0).toBeGreaterThanOrEqual(2_000_000);
  upload.stop();
  expect(await running).toBe(false);
  expect([upload.action.error, upload.problem, upload.phase]).toEqual([undefined, undefined, undefined]);
  const stood = server.arrived.length;
  expect(upload.doneBytes).toBe(stood);
  server.most = Number.POSITIVE_INFINITY;
  server.offsets.length = 0;
  expect(await upload.run(file, fields)).toBe(true);
  expect(server.offsets[0]).toBe(stood);
  expect(server.arrived.equals(bytes)).toBe(true);
  expect(asked.filter((path) => path.endsWith('/received'))).toEqual([]);
});

test('an upload of an earlier page is continued only with the same file', async () => {
  const arrived = bytes.subarray(0, 20 * contentPartBytes);
  const { server, file } = await setup({ arrived });
  const upload = new Upload();
  const other = Buffer.from(bytes);
  other[arrived.length - 1] = (other[arrived.length - 1] ?? 0) ^ 1;
  expect(await upload.run(new File([other], 'app.tar'), fields, file())).toBe(false);
  expect(upload.problem).toContain('This is another file: its first 5.2 MB are not what was uploaded.');
  expect(await upload.run(new File([bytes.subarray(1)], 'app.tar'), fields, file())).toBe(false);
  expect(upload.problem).toContain('it has 8,999,999 bytes, not 9,000,000');
  expect(server.offsets).toEqual([]);
  // The rest may be anything: nobody has seen it yet.
  other[arrived.length - 1] = (other[arrived.length - 1] ?? 0) ^ 1;
  other[arrived.length] = (other[arrived.length] ?? 0) ^ 1;
  expect(await upload.run(new File([other], 'renamed'), fields, file())).toBe(true);
  expect(server.offsets[0]).toBe(arrived.length);
  expect(server.arrived.equals(other)).toBe(true);
});

test('bytes that came from elsewhere meanwhile are compared before the upload goes on', async () => {
  const { server } = await setup({ most: 2_000_000 });
  const upload = new Upload();
  const file = new File([bytes], 'app.tar');
  const running = upload.run(file, fields);
  await eventually(() => server.offsets.at(-1) ?? 0).toBeGreaterThanOrEqual(2_000_000);
  upload.stop();
  await running;
  server.most = Number.POSITIVE_INFINITY;
  // Another page sends a piece after this one has asked how far the upload is.
  const stood = server.arrived;
  const slice = file.slice.bind(file);
  file.slice = (...range) => {
    if (server.arrived === stood) server.arrived = Buffer.concat([stood, randomBytes(contentPartBytes)]);
    return slice(...range);
  };
  expect(await upload.run(file, fields)).toBe(false);
  expect([upload.action.error, upload.problem, upload.isElsewhere]).toEqual([undefined, undefined, true]);
  expect(await upload.run(file, fields)).toBe(false);
  expect([upload.problem?.slice(0, 20), upload.isElsewhere]).toEqual(['This is another file', false]);
  expect(server.finished).toBe(false);
});

test('a file that can’t be read any more is told from a server that does not answer', async () => {
  await setup();
  const upload = new Upload();
  const file = new File([bytes], 'app.tar');
  file.slice = () =>
    ({
      arrayBuffer: () => Promise.reject(new DOMException('It was changed.', 'NotReadableError')),
    }) as unknown as Blob;
  expect(await upload.run(file, fields)).toBe(false);
  expect(upload.problem).toContain('It can’t be read any more');
  expect(upload.action.error).toBe(undefined);
});

/** Lets the pauses before tries pass at once, for as long as the upload runs. */
async function withoutPauses(running: Promise<boolean>, upload: InstanceType<typeof Upload>) {
  let result: boolean | undefined;
  void running.then((whole) => {
    result = whole;
  });
  await eventually(() => {
    if (upload.phase === 'waiting') vi.advanceTimersByTime(20_000);
    return result;
  }).toBeDefined();
  return result;
}
function stubPauses() {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  onTestFinished(() => void vi.useRealTimers());
}

test('an upload whose connection is lost goes on by itself, says so, and sends nothing twice', async () => {
  stubPauses();
  const { server, asked } = await setup();
  let cuts = 0;
  server.away = (what) => {
    if (what === 'file') return ++cuts < 4;
    if (what === 'content' && server.arrived.length > 2_000_000 && cuts === 0) return true;
    // An answer is lost, too, though the piece has arrived.
    return what === 'content' && server.arrived.length > 5_000_000 && cuts === 4 ? 'late' : false;
  };
  const upload = new Upload();
  const running = upload.run(new File([bytes], 'app.tar'), fields);
  await eventually(() => upload.phase).toBe('waiting');
  expect(upload.waitsFor?.message).toBe('The server did not answer.');
  expect(upload.doneBytes).toBe(server.arrived.length);
  expect(upload.action.busy).toBe(true);
  expect(await withoutPauses(running, upload)).toBe(true);
  expect([upload.waitsFor, upload.action.error, upload.problem]).toEqual([undefined, undefined, undefined]);
  expect(server.arrived.equals(bytes)).toBe(true);
  expect(server.finished).toBe(true);
  expect(cuts).toBe(5);
  // What this page has sent needs no comparison.
  expect(asked.filter((path) => path.endsWith('/received'))).toEqual([]);
});

test('an upload whose connection stops without an error goes on by itself, with the smallest pieces', async () => {
  stubPauses();
  const { server } = await setup({ most: 2_000_000 });
  const upload = new Upload();
  const running = upload.run(new File([bytes], 'app.tar'), fields);
  await eventually(() => server.offsets.at(-1) ?? 0).toBeGreaterThanOrEqual(2_000_000);
  const stood = server.arrived.length;
  server.most = Number.POSITIVE_INFINITY;
  expect(upload.phase).toBe('sending');
  vi.advanceTimersByTime(pieceWithinMs);
  await eventually(() => upload.phase).toBe('waiting');
  expect(upload.waitsFor?.message).toBe('The server did not answer.');
  expect(await withoutPauses(running, upload)).toBe(true);
  expect(server.arrived.equals(bytes)).toBe(true);
  const again = server.offsets.lastIndexOf(stood);
  expect(server.offsets.slice(again, again + 2)).toEqual([stood, stood + contentPartBytes]);
});

test('an upload whose file can’t be asked for, as the connection stops without an error, goes on by itself', async () => {
  stubPauses();
  const { server } = await setup();
  let cuts = 0;
  server.away = (what) => {
    if (what === 'content' && server.arrived.length > 2_000_000 && cuts === 0) return ++cuts > 0;
    return what === 'file' && cuts === 1 && ++cuts > 0 ? 'late' : false;
  };
  const upload = new Upload();
  const running = upload.run(new File([bytes], 'app.tar'), fields);
  await eventually(() => upload.phase).toBe('waiting');
  vi.advanceTimersByTime(20_000);
  await eventually(() => cuts).toBe(2);
  vi.advanceTimersByTime(pieceWithinMs);
  expect(await withoutPauses(running, upload)).toBe(true);
  expect(server.arrived.equals(bytes)).toBe(true);
});

test('an upload tries for some minutes after something last arrived, then can be continued', async () => {
  stubPauses();
  const { server } = await setup();
  let isAway = false;
  server.away = (what) => {
    if (what === 'content' && server.arrived.length > 2_000_000) isAway = true;
    return isAway;
  };
  const upload = new Upload();
  const file = new File([bytes], 'app.tar');
  const begunMs = performance.now();
  expect(await withoutPauses(upload.run(file, fields), upload)).toBe(false);
  expect(performance.now() - begunMs).toBeGreaterThan(triesForMs);
  expect([upload.action.error?.code, upload.phase, upload.waitsFor]).toEqual([
    'offline',
    undefined,
    undefined,
  ]);
  server.away = () => false;
  expect(await upload.run(file, fields)).toBe(true);
  expect(server.arrived.equals(bytes)).toBe(true);
});

test('an upload that waits to try again can be stopped', async () => {
  stubPauses();
  const { server, asked } = await setup();
  server.away = (what) => what === 'content';
  const upload = new Upload();
  const running = upload.run(new File([bytes], 'app.tar'), fields);
  await eventually(() => upload.phase).toBe('waiting');
  const before = asked.length;
  upload.stop();
  expect(await running).toBe(false);
  expect([upload.action.error, upload.waitsFor, asked.length]).toEqual([undefined, undefined, before]);
});

test('a piece that arrives after all while it is sent again is compared, and the upload goes on behind it', async () => {
  stubPauses();
  const { server, asked } = await setup();
  let cuts = 0;
  let late = Buffer.alloc(0);
  server.away = (what) => {
    if (what !== 'content') return false;
    if (cuts === 0 && server.arrived.length > 2_000_000) {
      cuts += 1;
      const { length } = server.arrived;
      late = bytes.subarray(length, length + contentPartBytes);
      return true;
    }
    // Between the question how far the upload is and the next piece.
    server.arrived = Buffer.concat([server.arrived, late]);
    late = Buffer.alloc(0);
    return false;
  };
  const upload = new Upload();
  expect(await withoutPauses(upload.run(new File([bytes], 'app.tar'), fields), upload)).toBe(true);
  expect(server.arrived.equals(bytes)).toBe(true);
  expect(asked.filter((path) => path.endsWith('/received'))).toHaveLength(1);
  expect(upload.isElsewhere).toBe(false);
});

test('a refusal is not tried again', async () => {
  await setup();
  const upload = new Upload();
  const gone = { id: 'gone', size: bytes.length, receivedBytes: 0 } as StoredFile;
  expect(await upload.run(new File([bytes], 'app.tar'), fields, gone)).toBe(false);
  expect(upload.action.error?.code).toBe('not_found');
});

test('an upload that may not have begun is not tried again, as its name may be taken now', async () => {
  const { asked } = await serveApi({ '/api/v1/files': (_, response) => void response.destroy() });
  const upload = new Upload();
  expect(await upload.run(new File([bytes], 'app.tar'), fields)).toBe(false);
  expect([upload.action.error?.code, asked.length]).toEqual(['offline', 1]);
});
