// Reading the output of a step over HTTP, whole or in ranges.
import type { ErrorBody, OutputPage } from '@opsconductor/protocol';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { ClaimedStep } from '../../../store/queue/claims/claims.ts';
import { UserTurns } from '../../../turns/user-turns.ts';
import { setupRunsApp, type TestRunsApp } from './runs-testing.ts';

let t: TestRunsApp;
beforeEach(async () => {
  t = await setupRunsApp();
});
afterEach(() => t[Symbol.asyncDispose]());

describe('the bytes of an output', () => {
  const path = ({ runId, lease }: { runId: number; lease: ClaimedStep }) =>
    `runs/${runId}/steps/${lease.id}/output?format=text`;
  const range = (text: string) => ({ headers: { Range: text } });

  test('are sent whole, or as the requested range', async () => {
    const run = await t.endedRun();
    const whole = await t.request('GET', path(run));
    expect([whole.status, await whole.text()]).toEqual([200, 'one\nthree\n']);
    const part = await t.request('GET', path(run), range('bytes=2-5'));
    expect([part.status, part.headers.get('content-range'), await part.text()]).toEqual([
      206,
      'bytes 2-5/10',
      'e\nth',
    ]);
    const huge = await t.request('GET', path(run), range('bytes=8-99999999999999999999'));
    expect([huge.status, await huge.text()]).toEqual([206, 'e\n']);
  });

  test('are read in turns with other users', async () => {
    const run = await t.endedRun();
    const { id, token } = await t.app.user('reader', ['viewer']);
    const turns = vi.spyOn(UserTurns.prototype, 'take');
    const whole = await t.request('GET', path(run), { token });
    expect(await whole.text()).toBe('one\nthree\n');
    expect(turns).toHaveBeenCalledWith(String(id));
    turns.mockRestore();
  });

  test('beyond the end are 416 with the length, however far beyond', async () => {
    const run = await t.endedRun();
    for (const first of ['10', '9007199254740993', '99999999999999999999']) {
      const beyond = await t.request('GET', path(run), range(`bytes=${first}-`));
      expect([beyond.status, beyond.headers.get('content-range'), await beyond.text()]).toEqual([
        416,
        'bytes */10',
        '',
      ]);
    }
  });

  test('of a step that does not exist are refused, naming the wrong part of the address', async () => {
    const { runId, lease } = await t.endedRun();
    for (const id of ['9007199254740992', '1e3', '-', '%00']) {
      const { status, body } = await t.ask('GET', `runs/${runId}/steps/${id}/output`);
      expect([status, (body as ErrorBody).error.details?.map((detail) => detail.path)]).toEqual([
        400,
        ['step'],
      ]);
    }
    expect((await t.ask('GET', `runs/${runId + 1}/steps/${lease.id}/output`)).status).toBe(404);
    const page = (await t.ask('GET', `runs/${runId}/steps/${lease.id}/output?after=2147483647`)).body;
    expect((page as OutputPage).chunks).toEqual([]);
  });
});
