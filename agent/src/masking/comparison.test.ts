// Secrets that repeat themselves match, and nearly match, at each place of a text that does. Who prints may know the
// secret, and may have chosen it.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { countedReads } from '../testing/counted-reads.ts';
import { PatternSet } from './pattern-set.ts';
import { mask, Redactor } from './redactor.ts';
import { textPatterns } from './secret-patterns.ts';

function redact(patterns: PatternSet, ...pieces: Buffer[]): string {
  const redactor = new Redactor(patterns);
  return Buffer.concat([...pieces.map((piece) => redactor.push(piece)), redactor.end()]).toString('latin1');
}

/** What a redactor should do: masks each run of bytes that are in a match. */
function model(pattern: Buffer, data: Buffer): string {
  const isMasked = new Uint8Array(data.length);
  const begins = new Uint8Array(data.length + 1);
  let end = 0;
  for (let at = 0; at < data.length; at++) {
    if (!data.subarray(at, at + pattern.length).equals(pattern)) continue;
    // Matches that only touch are two.
    if (at >= end) begins[at] = 1;
    end = at + pattern.length;
    isMasked.fill(1, at, end);
  }
  let shown = '';
  for (let at = 0; at < data.length; at++) {
    if (begins[at] === 1) shown += mask.toString();
    if (isMasked[at] === 0) shown += String.fromCharCode(data[at] as number);
  }
  return shown;
}

test('secrets that repeat themselves are masked wherever they overlap, and nothing else is', () => {
  const unit = fc.string({ unit: fc.constantFrom('a', 'b'), minLength: 1, maxLength: 4 });
  const part = fc.tuple(unit, fc.integer({ min: 1, max: 60 })).map(([text, times]) => text.repeat(times));
  fc.assert(
    fc.property(
      fc.tuple(unit, unit).map(([some, others]) => some.repeat(80) + others),
      fc.array(part, { maxLength: 6 }),
      fc.array(fc.boolean(), { minLength: 7, maxLength: 7 }),
      fc.array(fc.nat(2_000), { maxLength: 3 }),
      (secret, parts, withSecret, cuts) => {
        const pattern = Buffer.from(secret);
        const text = ['', ...parts].map((each, at) => each + (withSecret[at] ? secret : '')).join('');
        const data = Buffer.from(text);
        const at = [0, ...cuts.map((cut) => Math.min(cut, data.length)).sort((a, b) => a - b), data.length];
        const pieces = at.slice(1).map((end, i) => data.subarray(at[i], end));
        expect(redact(new PatternSet([pattern]), ...pieces)).toBe(model(pattern, data));
      },
    ),
    { numRuns: 500 },
  );
});

const long = 'a'.repeat(2_000);

test.each([
  ['as it is', Buffer.from(long.repeat(3))],
  ['in hex', Buffer.from(Buffer.from(long.repeat(3)).toString('hex'))],
  [
    'in lines of base64',
    Buffer.from(Buffer.from(long.repeat(3)).toString('base64').replace(/.{76}/g, '$&\n')),
  ],
  ['except for its last letter', Buffer.from(`${long.slice(1)}b`.repeat(3))],
])('no byte of a long secret of one letter, printed %s, is read hundreds of times', (_, printed) => {
  const set = new PatternSet(textPatterns(long));
  const finding = countedReads(printed);
  set.find(finding.data);
  expect(finding.reads() / printed.length).toBeLessThan(600);
  const holding = countedReads(printed);
  set.partialStart(holding.data);
  expect(holding.reads() / printed.length).toBeLessThan(600);
});

test('what takes too long to compare counts as a secret, and no more is held back than one could be long', () => {
  const set = new PatternSet(textPatterns('a'.repeat(16_384)));
  const printed = Buffer.from('61'.repeat(100_000).replace(/.{76}/g, '$&\n'));
  const redactor = new Redactor(set);
  let shown = '';
  for (let at = 0; at < printed.length; at += 50_000) {
    shown += redactor.push(printed.subarray(at, at + 50_000)).toString();
    expect(redactor.heldBytes).toBeLessThan(set.maxBytes);
  }
  shown += redactor.end().toString();
  expect(shown).not.toContain('616161');
});
