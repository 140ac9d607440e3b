import fc from 'fast-check';
import { expect, onTestFinished, test, vi } from 'vitest';
import type { OpenedCredential } from '../steps/step-type.ts';
import { PatternSet } from './pattern-set.ts';
import { mask, Redactor } from './redactor.ts';
import { base64Cores, secretPatterns, textPatterns } from './secret-patterns.ts';

const password = 'p4ss/w&rd "x"';
const credential: OpenedCredential = { kind: 'ssh_password', id: '1', version: 1, user: 'root', password };

function redact(patterns: PatternSet, ...pieces: Buffer[]): string {
  const redactor = new Redactor(patterns);
  return Buffer.concat([...pieces.map((piece) => redactor.push(piece)), redactor.end()]).toString('latin1');
}

/** The same, with `room` bytes in front of each piece that the redactor may overwrite. */
function redactInPlace(patterns: PatternSet, room: number, pieces: readonly Buffer[]): string {
  const redactor = new Redactor(patterns);
  const shown = pieces.map((piece) => {
    const memory = Buffer.concat([Buffer.alloc(1 + room, '#'), piece, Buffer.from('#')]);
    const text = redactor.push(memory.subarray(1 + room, -1), room).toString('latin1');
    expect([memory.at(0), memory.at(-1)]).toEqual([0x23, 0x23]);
    memory.fill('?');
    return text;
  });
  return shown.join('') + redactor.end().toString('latin1');
}

/** What a redactor should do, found by checking each pattern at each place. */
function model(patterns: readonly Buffer[], data: Buffer): string {
  const spans: [number, number][] = [];
  for (let at = 0; at < data.length; at++) {
    for (const pattern of patterns) {
      if (!data.subarray(at, at + pattern.length).equals(pattern)) continue;
      const last = spans.at(-1);
      if (last !== undefined && at < last[1]) last[1] = Math.max(last[1], at + pattern.length);
      else spans.push([at, at + pattern.length]);
    }
  }
  let shown = '';
  let from = 0;
  for (const [start, end] of spans) {
    shown += data.toString('latin1', from, start) + mask.toString();
    from = end;
  }
  return shown + data.toString('latin1', from);
}

test('a secret is masked wherever the stream is cut', () => {
  const patterns = new PatternSet(secretPatterns(credential));
  const whole = Buffer.from(`before ${password} after`);
  for (let at = 0; at <= whole.length; at++) {
    expect(redact(patterns, whole.subarray(0, at), whole.subarray(at))).toBe('before ******** after');
  }
});

test('users of the very same secrets share one table, and nobody else gets it', async () => {
  const own = new PatternSet(secretPatterns(credential));
  const mine = textPatterns('open sesame');
  const yours = textPatterns('xyzzy plugh');
  const shared = await own.sharedWith([...mine]);
  const other = await own.sharedWith([...yours]);
  expect(await own.sharedWith([...mine])).toBe(shared);
  expect(await own.sharedWith([...yours])).toBe(other);
  expect(await new PatternSet(own.patterns).sharedWith([...mine])).toBe(shared);
  // Equal is not the same: these belong to another run.
  expect(await own.sharedWith(textPatterns('open sesame'))).not.toBe(shared);
  expect(await new PatternSet([]).sharedWith([...mine])).not.toBe(shared);
  expect(redact(shared, Buffer.from(`${password} open sesame xyzzy plugh`))).toBe(
    '******** ******** xyzzy plugh',
  );
  expect(redact(other, Buffer.from('open sesame xyzzy plugh'))).toBe('open sesame ********');
});

test('only the tables of a few sets of secrets are kept', async () => {
  const none = new PatternSet([]);
  const patterns = Array.from({ length: 33 }, (_, n) => textPatterns(`a secret of ${n}`));
  const [first] = await Promise.all(patterns.map((some) => none.sharedWith(some)));
  expect(await none.sharedWith(patterns[0] ?? [])).not.toBe(first);
});

/** Lines of four letters, all different. */
const linesOf = (count: number, from = 0) =>
  Array.from({ length: count }, (_, n) =>
    (from + n + 26 ** 3).toString(26).replace(/\d/g, (d) => 'qrstuvwxyz'[+d] ?? d),
  );

test('other work has its turn while many secrets are prepared for the search', async () => {
  const secrets = Array.from({ length: 8 }, (_, n) => linesOf(3_000, 3_000 * n).join('\n'));
  // Each look at the clock finds 10 ms gone, however fast the machine is.
  let nowMs = 0;
  const clock = vi.spyOn(performance, 'now').mockImplementation(() => (nowMs += 10));
  onTestFinished(() => clock.mockRestore());
  let isDone = false;
  const making = new PatternSet([]).with(secrets.flatMap(textPatterns)).finally(() => {
    isDone = true;
  });
  const order: string[] = [];
  await new Promise((resolve) =>
    setImmediate(() => {
      order.push(isDone ? 'after' : 'meanwhile');
      resolve(undefined);
    }),
  );
  const set = await making;
  expect(order).toEqual(['meanwhile']);
  expect(redact(set, Buffer.from(`[${secrets[7]}]`))).toBe('[********]');
});

test('of a secret with very many lines, the later ones are masked as they are, and so is the whole in any encoding', () => {
  const lines = linesOf(5_000);
  const secret = `${lines.join('\n')}\n`;
  const patterns = textPatterns(secret);
  expect(patterns.length).toBeLessThan(12_000);
  const set = new PatternSet(patterns);
  expect(redact(set, Buffer.from(`[${lines[4_999]}] [${lines[3]}]`))).toBe('[********] [********]');
  expect(redact(set, Buffer.from(`[${Buffer.from(lines[3] ?? '').toString('hex')}]`))).toBe('[********]');
  for (const whole of [secret, secret.trim()])
    expect(redact(set, Buffer.from(`[${Buffer.from(whole).toString('base64')}]`))).toBe('[********]');
});

test('a secret is masked when it comes byte by byte', () => {
  const patterns = new PatternSet(secretPatterns(credential));
  const bytes = [...Buffer.from(`x${password}y`)].map((byte) => Buffer.of(byte));
  expect(redact(patterns, ...bytes)).toBe('x********y');
});

test('any stream, cut anywhere, gives what the model gives', () => {
  const letters = fc.constantFrom('a', 'b', 'c');
  const word = fc.string({ unit: letters, minLength: 4, maxLength: 9 });
  const stream = fc.string({ unit: letters, maxLength: 60 });
  fc.assert(
    fc.property(
      fc.array(word, { minLength: 1, maxLength: 4 }),
      stream,
      fc.array(fc.nat(60)),
      fc.nat(10),
      (words, text, cuts, room) => {
        const patterns = words.map((found) => Buffer.from(found));
        const data = Buffer.from(text);
        const at = [0, ...cuts.map((cut) => Math.min(cut, data.length)).sort((a, b) => a - b), data.length];
        const pieces = at.slice(1).map((end, i) => data.subarray(at[i], end));
        expect(redact(new PatternSet(patterns), ...pieces)).toBe(model(patterns, data));
        expect(redactInPlace(new PatternSet(patterns), room, pieces)).toBe(model(patterns, data));
      },
    ),
    { numRuns: 2_000 },
  );
});

test('only what may be the beginning of a secret is held back', () => {
  const redactor = new Redactor(new PatternSet([Buffer.from('hunter2')]));
  expect(redactor.push(Buffer.from('Fini')).toString()).toBe('Fini');
  expect(redactor.push(Buffer.from('sh')).toString()).toBe('s');
  expect(redactor.push(Buffer.from('ed\n')).toString()).toBe('hed\n');
});

test('overlapping secrets hold back no more than the length of one', () => {
  const redactor = new Redactor(new PatternSet([Buffer.from('aaaa')]));
  let shown = '';
  for (let i = 0; i < 100; i++) shown += redactor.push(Buffer.alloc(1_000, 'a')).toString();
  expect(shown + redactor.end().toString()).toBe(mask.toString());
});

test.each([
  ['hex', Buffer.from(password).toString('hex')],
  ['upper case hex', Buffer.from(password).toString('hex').toUpperCase()],
  ['URL', encodeURIComponent(password)],
  ['form', encodeURIComponent(password).replaceAll('%20', '+')],
  ['JSON', JSON.stringify(password).slice(1, -1)],
  ['XML', 'p4ss/w&amp;rd &quot;x&quot;'],
  ['base64', Buffer.from(password).toString('base64').replace(/=+$/, '').slice(0, -1)],
])('%s of a secret is masked', (_, spelling) => {
  const shown = redact(new PatternSet(secretPatterns(credential)), Buffer.from(`[${spelling}]`));
  expect(shown).toContain('********');
  expect(shown).not.toContain(spelling);
});

test.each(['utf8', 'utf16le'] as const)(
  'base64 of %s text that holds a secret is masked at every offset and line width',
  (encoding) => {
    const patterns = new PatternSet(secretPatterns({ ...credential, password: 'correct horse' }));
    for (const before of ['', 'a', 'ab', 'abc', 'user=root;password=', 'x'.repeat(45), 'x'.repeat(52)]) {
      const encoded = Buffer.from(`${before}correct horse;`, encoding).toString('base64');
      for (const lineEnd of ['\n', '\r\n']) {
        for (const width of [60, 64, 76, 1_000]) {
          const wrapped = encoded.replace(new RegExp(`.{${width}}`, 'g'), `$&${lineEnd}`);
          const shown = redact(patterns, Buffer.from(wrapped)).replaceAll(/[\r\n]/g, '');
          for (const core of base64Cores(Buffer.from('correct horse', encoding)))
            expect(shown).not.toContain(core);
          expect(shown).toContain('********');
        }
      }
    }
  },
);

test('the lines of a private key are masked, and its frame is shown', () => {
  const secret = ['b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ', 'QyNTUxOQAAACB1bml0IHRlc3Qga2V5IG1hdGVyaWFs'];
  const privateKey = `-----BEGIN OPENSSH PRIVATE KEY-----\n${secret.join('\n')}\n-----END OPENSSH PRIVATE KEY-----\n`;
  const patterns = new PatternSet(
    secretPatterns({ kind: 'ssh_private_key', id: '1', version: 1, user: 'root', privateKey }),
  );
  const shown = redact(patterns, Buffer.from(privateKey));
  expect(shown).toBe(
    '-----BEGIN OPENSSH PRIVATE KEY-----\n********\n********\n-----END OPENSSH PRIVATE KEY-----\n',
  );
});

test('a secret of three characters is not masked', () => {
  expect(secretPatterns({ ...credential, password: 'abc' })).toEqual([]);
});

test('if a secret became a path, its directories are masked as well', () => {
  const patterns = new PatternSet(secretPatterns({ ...credential, password: '17976527?a=b/f:g@h+i j/x' }));
  expect(redact(patterns, Buffer.from('/srv/17976527?a=b is not there'))).toBe('/srv/******** is not there');
  expect(redact(patterns, Buffer.from('/srv/17976527?a=b/f:g@h+i j/x'))).toBe('/srv/********');
});

const lineEnds = { unit: fc.constantFrom('a', 'b', '\n', '\r'), maxLength: 40 };

test('text that may contain line ends is masked the same wherever the stream is cut', () => {
  const word = fc.string({ unit: fc.constantFrom('a', 'b'), minLength: 4, maxLength: 9 });
  const pattern = fc
    .tuple(word, fc.nat(3))
    .map(([bytes, maxLineEnds]) => ({ bytes: Buffer.from(bytes), maxLineEnds }));
  const cuts = fc.array(fc.nat(40));
  fc.assert(
    fc.property(
      fc.array(pattern, { minLength: 1, maxLength: 4 }),
      fc.string(lineEnds),
      cuts,
      (patterns, text, places) => {
        const set = new PatternSet(patterns);
        const data = Buffer.from(text);
        const at = [
          0,
          ...places.map((place) => Math.min(place, data.length)).sort((a, b) => a - b),
          data.length,
        ];
        expect(redact(set, ...at.slice(1).map((end, i) => data.subarray(at[i], end)))).toBe(
          redact(set, data),
        );
      },
    ),
    { numRuns: 1_000 },
  );
});

test('a long secret in wrapped lines is masked as a whole, whatever the line width', () => {
  const secret = 'long enough for many lines, '.repeat(20);
  const patterns = new PatternSet(secretPatterns({ ...credential, password: secret }));
  for (const encoding of ['base64', 'hex'] as const) {
    const encoded = Buffer.from(encoding === 'hex' ? secret : `password=${secret};`).toString(encoding);
    for (const width of [60, 64, 76]) {
      const wrapped = encoded.replace(new RegExp(`.{${width}}`, 'g'), '$&\r\n');
      expect(redact(patterns, Buffer.from(wrapped)).length).toBeLessThan(30);
    }
  }
});

test('the end of a line is held back only if the line is as long as encoders write them', () => {
  const patterns = new PatternSet([{ bytes: Buffer.from('7abcdefgh'), maxLineEnds: 1 }]);
  const shown = (...pieces: string[]) => {
    const redactor = new Redactor(patterns, { column: 0 });
    return pieces.map((piece) => redactor.push(Buffer.from(piece)).toString());
  };
  const long = 'x'.repeat(59);
  expect(shown('pid 2477\n', 'abcdefgh\n')).toEqual(['pid 2477\n', 'abcdefgh\n']);
  expect(shown('one\r\n77\r\n')).toEqual(['one\r\n77\r\n']);
  expect(shown(`${long}7\n`, 'abcdefgh\n')).toEqual([long, `${mask}\n`]);
  expect(shown(`one\n${long.slice(30)}`, `${long.slice(29)}7\r`, '\nabcdefgh\n')).toEqual([
    `one\n${long.slice(30)}`,
    long.slice(29),
    `${mask}\n`,
  ]);
});
