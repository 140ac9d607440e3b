import { expect, test } from 'vitest';
import { showEvent } from './show-run.ts';

function shown(steps: object[]): string[] {
  const lines: string[] = [];
  const event = `event: change\ndata: ${JSON.stringify({ seq: 1, at: '2026-11-29T12:00:00.000Z', steps })}`;
  showEvent(event, new Map([[1, 'goodbye']]), (line) => lines.push(line));
  return lines;
}

test('a step is shown once it has ended, not when it waits or waits again', () => {
  expect(shown([{ id: 1, status: 'running' }])).toEqual([]);
  expect(shown([{ id: 1, status: 'pending' }])).toEqual([]);
  expect(shown([{ id: 1, status: 'ready' }])).toEqual([]);
  expect(shown([{ id: 1, status: 'succeeded', exitCode: 0 }])).toEqual([
    '  ✓ goodbye: succeeded, exit code 0',
  ]);
  expect(shown([{ id: 1, status: 'failed', exitCode: 3, errorMessage: 'It ended with 3.' }])).toEqual([
    '  ✗ goodbye: failed, exit code 3: It ended with 3.',
  ]);
});
