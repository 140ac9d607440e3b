import { describe, expect, it } from 'vitest';
import { ApiError } from '../../api/client.ts';
import { refused, splitAt, unreadable } from './selector-problem.ts';

describe('what is wrong with a selector', () => {
  it('is absent for a valid selector and for an empty one', () => {
    expect(unreadable('segment:dmz-1 os=linux env in (prod, stage) !canary')).toBeUndefined();
    expect(unreadable('  ')).toBeUndefined();
  });

  it('is reported at its column', () => {
    const problem = unreadable('env=prod )');
    expect(problem?.column).toBe(10);
    expect(problem?.message).toMatch(/^Column 10: /);
  });

  it('is reported at its column if only the server can know it', () => {
    const message = 'Column 7: There is no target group “canray”. Correct the name.';
    const error = new ApiError('invalid', message, { details: [{ path: 'query.selector', message }] });
    expect(refused(error)).toEqual({ message, column: 7 });
  });

  it('does not include problems of other fields', () => {
    const error = new ApiError('invalid', 'no', {
      details: [{ path: 'query.search', message: 'Too long.' }],
    });
    expect(refused(error)).toBeUndefined();
    expect(refused(undefined)).toBeUndefined();
  });

  it('has a blank to point at after the end', () => {
    expect(splitAt('env=', 5)).toEqual(['env=', ' ', '']);
    expect(splitAt('a💥)b', 3)).toEqual(['a💥', ')', 'b']);
  });
});
