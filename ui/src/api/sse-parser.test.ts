import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type ServerEvent, SseParser } from './sse-parser.ts';

const stream =
  'retry: 2000\n\n: beat\n\nid: 12~5.1.40\nevent: change\ndata: {"seq":12}\n\nevent: output\ndata: {"a":1}\r\n\r\ndata: two\ndata: lines\n\nid: 13\ndata: x\n\n';
const events: ServerEvent[] = [
  { event: 'change', data: '{"seq":12}' },
  { event: 'output', data: '{"a":1}' },
  { event: 'message', data: 'two\nlines' },
  { event: 'message', data: 'x' },
];

describe('an event stream', () => {
  it('returns complete events, skips comments, and keeps the last id and the retry wait', () => {
    const parser = new SseParser();
    expect([...parser.feed(stream)]).toEqual(events);
    expect(parser.lastEventId).toBe('13');
    expect(parser.retryMs).toBe(2000);
  });

  it('returns the same events wherever the text is cut', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(stream.length), { maxLength: 10 }), (cuts) => {
        const at = [0, ...cuts.sort((a, b) => a - b), stream.length];
        const parser = new SseParser();
        const found = at.slice(1).flatMap((to, index) => [...parser.feed(stream.slice(at[index], to))]);
        expect(found).toEqual(events);
      }),
    );
  });

  it('does not take the id of an event that was cut off', () => {
    const parser = new SseParser('11');
    expect([...parser.feed('id: 12\nevent: change\ndata: {"se')]).toEqual([]);
    expect(parser.lastEventId).toBe('11');
  });

  it('has the id of the event that was taken last, not of those that came with it', () => {
    const parser = new SseParser();
    const ids: string[] = [];
    for (const { data } of parser.feed('id: 1\ndata: a\n\nid: 2\ndata: b\n\n'))
      ids.push(`${data} ${parser.lastEventId}`);
    expect(ids).toEqual(['a 1', 'b 2']);
  });

  it('keeps the last id when later events have none', () => {
    const parser = new SseParser('11');
    expect([...parser.feed('event: output\ndata: {}\n\n')]).toHaveLength(1);
    expect(parser.lastEventId).toBe('11');
  });
});
