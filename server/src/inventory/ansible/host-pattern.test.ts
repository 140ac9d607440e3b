import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { expandRanges, HostPatternError, splitPort } from './host-pattern.ts';

describe('ranges of hosts', () => {
  it.each([
    ['web', ['web']],
    ['web[1:3]', ['web1', 'web2', 'web3']],
    [
      'web[01:10:3].example.com',
      ['web01.example.com', 'web04.example.com', 'web07.example.com', 'web10.example.com'],
    ],
    ['db-[a:c]', ['db-a', 'db-b', 'db-c']],
    ['db-[y:B]', ['db-y', 'db-z', 'db-A', 'db-B']],
    ['[a:b][1:2]', ['a1', 'a2', 'b1', 'b2']],
    ['h[:2]', ['h0', 'h1', 'h2']],
    ['h[9:11]', ['h9', 'h10', 'h11']],
    ['h[000:001]', ['h000', 'h001']],
  ])('%s', (pattern, names) => {
    expect(expandRanges(pattern, 100)).toEqual(names);
  });

  it.each([
    ['web[1:10000000]', /stands for 10000000 hosts/],
    ['[0:999999][0:999999][0:999999]', /stands for 1000000000000000000 hosts/],
    ['web[3:1]', /lower end/],
    ['web[1:]', /A range is/],
    ['web[1]', /A range is/],
    ['web[1:2:3:4]', /A range is/],
    ['web[1:9:0]', /step/],
    ['web[1:9:-1]', /step/],
    ['web[01:100]', /same number of digits/],
    ['web[a:5]', /number to number/],
    ['web[1:2', /Brackets/],
    ['web]1:2[', /Brackets/],
    ['web[[1:2]]', /Brackets/],
  ])('%s is refused', (pattern, message) => {
    expect(() => expandRanges(pattern, 50_000)).toThrow(message);
    expect(() => expandRanges(pattern, 50_000)).toThrow(HostPatternError);
  });

  it('expand to the names that they were made from, in order', () => {
    const range = fc.record({
      first: fc.integer({ min: 0, max: 400 }),
      count: fc.integer({ min: 1, max: 40 }),
      step: fc.integer({ min: 1, max: 7 }),
      isPadded: fc.boolean(),
    });
    fc.assert(
      fc.property(range, fc.stringMatching(/^[a-z-]{0,5}$/), ({ first, count, step, isPadded }, tail) => {
        const last = first + (count - 1) * step;
        const write = (n: number) => (isPadded ? `0${String(n).padStart(4, '0')}` : String(n));
        const expected = Array.from({ length: count }, (_, n) => `h${write(first + n * step)}${tail}`);
        expect(expandRanges(`h[${write(first)}:${write(last)}:${step}]${tail}`, 40)).toEqual(expected);
      }),
    );
  });
});

describe('ports after names', () => {
  it.each([
    ['web:22', 'web', 22],
    ['web[1:3]:2222', 'web[1:3]', 2222],
    ['10.0.0.1:22', '10.0.0.1', 22],
    ['[2001:db8::1]:22', '2001:db8::1', 22],
    ['2001:db8::1', '2001:db8::1', undefined],
    ['web', 'web', undefined],
    ['web[1:3]', 'web[1:3]', undefined],
  ])('%s', (text, pattern, port) => {
    expect(splitPort(text)).toEqual({ pattern, port });
  });

  it('may not be missing after a colon', () => {
    expect(() => splitPort('web:')).toThrow(HostPatternError);
  });
});
