import { describe, expect, it } from 'vitest';
import { apiPaths, lineAnchor, paths, readLineAnchor, readSignInCode, safeReturnPath } from './paths.ts';

describe('paths', () => {
  it('leaves out undefined query parameters', () => {
    expect(paths.runs({ status: '', jobId: undefined })).toBe('/runs');
    expect(paths.runs({ status: 'failed,unknown', jobId: 4 })).toBe('/runs?status=failed,unknown&jobId=4');
  });

  it('builds the permalink of lines', () => {
    expect(paths.run(7, { host: 3, step: 2, lines: { from: 107, to: 115 } })).toBe(
      '/runs/7?host=3&step=2#L107-115',
    );
  });

  it('builds the link to a filter of a run so that it can be read', () => {
    expect(paths.run(7, { filter: 'step:2 why:exit_100' })).toBe('/runs/7?filter=step:2+why:exit_100');
    expect(paths.run(7, { filter: '' })).toBe('/runs/7');
  });

  it('escapes text that comes from users', () => {
    expect(paths.jobs({ search: 'a&b=c' })).toBe('/jobs?search=a%26b%3Dc');
    expect(apiPaths.credential('../me')).toBe('/api/v1/credentials/..%2Fme');
  });

  it('reads line anchors back, in either order, and rejects anything else', () => {
    expect(readLineAnchor(`#${lineAnchor({ from: 5, to: 5 })}`)).toEqual({ from: 5, to: 5 });
    expect(readLineAnchor('#L9-4')).toEqual({ from: 4, to: 9 });
    for (const other of ['', '#L0', '#L', '#l5', '#L5-', '#L5x', '#code=abc']) {
      expect(readLineAnchor(other)).toBeUndefined();
    }
  });

  it('reads a sign-in code from the fragment', () => {
    expect(readSignInCode('#code=abc_DEF-123')).toBe('abc_DEF-123');
    expect(readSignInCode('#L12')).toBeUndefined();
  });

  it('returns only to a path of this console', () => {
    expect(safeReturnPath('/runs/7?host=3')).toBe('/runs/7?host=3');
    for (const other of ['//evil.example', '/\\evil.example', 'https://evil.example', '/sign-in', '', null]) {
      expect(safeReturnPath(other)).toBe('/jobs');
    }
  });
});
