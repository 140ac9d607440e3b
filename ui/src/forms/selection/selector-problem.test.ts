import { describe, expect, it } from 'vitest';
import { ApiError } from '../../api/client.ts';
import { refused, splitAt, unreadable } from './selector-problem.ts';

describe('what is wrong with a selector', () => {
  it('is nothing for what can be read, and for nothing', () => {
    expect(unreadable('segment:dmz-1 os=linux env in (prod, stage) !canary')).toBeUndefined();
    expect(unreadable('  ')).toBeUndefined();
  });

  it('is told at its column', () => {
    const problem = unreadable('env=prod )');
    expect(problem?.column).toBe(10);
    expect(problem?.message).toMatch(/^Column 10: /);
  });

  it('is told at its column when only the server can know', () => {
    const message = 'Column 7: There is no target group “canray”. Correct the name.';
    const error = new ApiError('invalid', message, { details: [{ path: 'query.selector', message }] });
    expect(refused(error)).toEqual({ message, column: 7 });
  });

  it('is not what is wrong with something else', () => {
    const error = new ApiError('invalid', 'no', {
      details: [{ path: 'query.search', message: 'Too long.' }],
    });
    expect(refused(error)).toBeUndefined();
    expect(refused(undefined)).toBeUndefined();
  });

  it('has a blank to point at behind the end', () => {
    expect(splitAt('env=', 5)).toEqual(['env=', ' ', '']);
    expect(splitAt('a💥)b', 3)).toEqual(['a💥', ')', 'b']);
  });
});
