// The output of an attempt that one process begins and another continues from what the first left in its spool.
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { decodeFrame, limits, type StoredOutput, startOfOutput } from '@opsconductor/protocol';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Masking } from '../masking/masking.ts';
import { PatternSet } from '../masking/pattern-set.ts';
import type { OutputStream } from '../steps/step-type.ts';
import { temporaryDirectory } from '../testing/enrolled-directory.ts';
import { AttemptOutput } from './attempt-output.ts';
import { DigestChain } from './digest-chain.ts';
import { openSpool } from './open-spool.ts';
import { Spool } from './spool.ts';

const secrets = Masking.of(new PatternSet([Buffer.from('secret'), Buffer.from('crete')]), true);
// Small, so that masks and pieces span chunks.
const small = { maxChunkRawBytes: 8 };

/** Its files are small, too. */
const newSpool = (path: string, base?: StoredOutput) => Spool.create(path, { base, partBytes: 400 });

function outputOn(
  spool: Spool,
  recovered: ConstructorParameters<typeof AttemptOutput>[1] = [],
  more: { maxOutputBytesPerAttempt?: number } = {},
  base?: StoredOutput,
) {
  const options = { step: 1, epoch: 1, spool, limits: { ...small, ...more }, monotonicMs: () => 0, base };
  const output = new AttemptOutput(
    { ...options, onStored: () => undefined, onStorageFailure: () => undefined },
    recovered,
  );
  output.maskSecrets(secrets);
  output.kept.follow();
  return output;
}

async function shown(output: AttemptOutput): Promise<Record<OutputStream, string>> {
  const text = { stdout: '', stderr: '' };
  output.sendFrom(1);
  while (output.hasUnsent) {
    const frame = decodeFrame(await output.takeFrame(), limits.maxChunkRawBytes);
    if (frame !== undefined) text[frame.stream] += gunzipSync(frame.bytes).toString();
  }
  return text;
}

/** A token recognized by its form, in two parts. */
const token = [`ghp_${'a1B2'.repeat(4)}`, 'c3D4'.repeat(5)];

const pieces = fc.array(
  fc.record({
    stream: fc.constantFrom<OutputStream>('stdout', 'stderr'),
    text: fc.constantFrom(
      'a',
      'sec',
      'ret',
      'secret',
      'secretsecret',
      'crete',
      'e',
      'rete',
      'plain words\n',
      ...token,
      token.join(''),
    ),
  }),
  { maxLength: 20 },
);

test('wherever the first process ends, the output is masked and shown as if one process had read it all', async () => {
  const directory = await temporaryDirectory();
  try {
    await fc.assert(
      fc.asyncProperty(pieces, fc.nat({ max: 20 }), async (all, keptChunks) => {
        const path = join(directory.path, randomBytes(8).toString('hex'));
        const whole = outputOn(newSpool(`${path}-whole`));
        for (const { stream, text } of all) whole.write(stream, Buffer.from(text));
        await whole.close();
        const expected = await shown(whole);
        await whole.suspend();

        // Only some of its chunks are there when the next process starts.
        const { spool, chunks } = await openSpool(`${path}-whole`, 1);
        const left = chunks.slice(0, keptChunks);
        const next = outputOn(spool, left);
        for (const stream of ['stdout', 'stderr'] as const) {
          const bytes = Buffer.from(all.map((p) => (p.stream === stream ? p.text : '')).join(''));
          const from = next.kept.written()[stream];
          for (let at = from; at < bytes.length; at += 5) next.write(stream, bytes.subarray(at, at + 5));
        }
        await next.close();
        expect(await shown(next)).toEqual(expected);
        await next.remove();
      }),
      { numRuns: 100 },
    );
  } finally {
    await directory.remove();
  }
});

test('wherever the server has output from another agent, the next one continues it, with its numbers and digest', async () => {
  const directory = await temporaryDirectory();
  try {
    await fc.assert(
      fc.asyncProperty(pieces, fc.nat({ max: 20 }), async (all, storedChunks) => {
        const path = join(directory.path, randomBytes(8).toString('hex'));
        const whole = outputOn(newSpool(`${path}-whole`));
        for (const { stream, text } of all) whole.write(stream, Buffer.from(text));
        const { rawBytes } = await whole.close();
        const expected = await shown(whole);
        await whole.suspend();

        const { spool, chunks } = await openSpool(`${path}-whole`, 1);
        const stored = outputOn(spool, chunks.slice(0, storedChunks));
        const begun = await shown(stored);
        const position = chunks.slice(0, storedChunks).at(-1)?.position ?? startOfOutput;
        const before = { seq: stored.lastSeq, rawBytes: stored.rawBytes, digest: stored.digest, position };
        const next = outputOn(newSpool(`${path}-next`, before), [], {}, before);
        for (const stream of ['stdout', 'stderr'] as const) {
          const bytes = Buffer.from(all.map((p) => (p.stream === stream ? p.text : '')).join(''));
          next.write(stream, bytes.subarray(next.kept.written()[stream]));
        }
        const summary = await next.close();
        // Even if the server asks for all of it: what it has is not here.
        const rest = await shown(next);
        expect([begun.stdout + rest.stdout, begun.stderr + rest.stderr]).toEqual([
          expected.stdout,
          expected.stderr,
        ]);
        expect(summary.rawBytes).toBe(rawBytes);
        const { digest } = next;
        await next.suspend();
        const again = await openSpool(`${path}-next`, before.seq + 1);
        expect(summary.lastSeq).toBe(before.seq + again.chunks.length);
        const chain = new DigestChain(before.digest);
        for (const chunk of again.chunks) chain.add(chunk);
        expect(digest).toBe(chain.base64);
        await again.spool.remove();
        await stored.remove();
      }),
      { numRuns: 100 },
    );
  } finally {
    await directory.remove();
  }
});

test('wherever the first process ends, output is cut at the same place, and the beginning of a secret is not shown', async () => {
  const directory = await temporaryDirectory();
  const texts = pieces.map((all) => all.map(({ text }) => text).join(''));
  try {
    await fc.assert(
      fc.asyncProperty(texts, fc.nat({ max: 40 }), fc.nat({ max: 20 }), async (text, most, keptChunks) => {
        const limit = { maxOutputBytesPerAttempt: most };
        const path = join(directory.path, randomBytes(8).toString('hex'));
        const whole = outputOn(newSpool(path), [], limit);
        whole.write('stdout', Buffer.from(text));
        const { truncated } = await whole.close();
        expect(truncated).toBe(text.length > most);
        const { stdout: expected, stderr: marker } = await shown(whole);
        // If a secret is masked as a whole, nothing of it is shown at the cut.
        expect((await shownOf(text, `${path}-full`)).startsWith(expected)).toBe(true);
        await whole.suspend();

        const { spool, chunks } = await openSpool(path, 1);
        const next = outputOn(spool, chunks.slice(0, keptChunks), limit);
        next.write('stdout', Buffer.from(text).subarray(next.kept.written().stdout));
        next.write('stdout', Buffer.from(truncated ? 'and more' : ''));
        expect(await next.close()).toMatchObject({ truncated });
        const { stdout, stderr } = await shown(next);
        expect(stdout).toBe(expected);
        // The marker appears once; the chunks are too small for all of it.
        expect(marker.startsWith(stderr)).toBe(true);
        await next.remove();
      }),
      { numRuns: 100 },
    );
  } finally {
    await directory.remove();
  }
});

async function shownOf(text: string, path: string): Promise<string> {
  const output = outputOn(newSpool(path));
  output.write('stdout', Buffer.from(text));
  await output.close();
  const { stdout } = await shown(output);
  await output.remove();
  return stdout;
}
