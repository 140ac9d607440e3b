import { join } from 'node:path';
import { closeCodes } from '@opsconductor/protocol';
import { expect, onTestFinished, test } from 'vitest';
import { temporaryDirectory } from '../testing/enrolled-directory.ts';
import { HandshakeError } from './handshake.ts';
import type { SocketEnd } from './message-socket.ts';
import { explainRefusal, readRefusal, ServerRefusalFile } from './server-refusal.ts';

const now = new Date('2026-11-28T10:00:00Z');
const at = now.toISOString();
const end = (code: number, more: Partial<SocketEnd> = {}): SocketEnd => {
  return { code, reason: 'why', byServer: true, opened: true, error: undefined, ...more };
};

async function setup() {
  const { path, remove } = await temporaryDirectory();
  onTestFinished(remove);
  const file = join(path, 'refusal');
  return { file: new ServerRefusalFile(file), kept: () => readRefusal(file) };
}

test('a refusal is kept until the server lets the agent in, in whatever order they come', async () => {
  const { file, kept } = await setup();
  void file.forget();
  await file.ended(end(closeCodes.unauthenticated), now);
  expect(await kept()).toEqual({ at, by: 'server', code: 4001, reason: 'why' });
  await file.ended(end(closeCodes.serverRestart), now);
  expect(await kept()).toMatchObject({ code: 4001 });
  void file.ended(end(closeCodes.quarantined), now);
  await file.forget();
  expect(await kept()).toBeUndefined();
});

test('that the agent has refused the server is recorded as such, without a word about a restore', async () => {
  const { file, kept } = await setup();
  const error = new HandshakeError('The server could not prove it.');
  await file.ended(end(error.closeCode, { reason: error.message, byServer: false, error }), now);
  const refusal = await kept();
  expect(refusal).toEqual({ at, by: 'agent', code: 4001, reason: 'The server could not prove it.' });
  const { what, fix } = explainRefusal(refusal ?? expect.fail());
  expect(what).toBe(`this agent refused the server last, at ${at}.`);
  expect(fix).toMatch(/^The server could not prove it\. Check that the address/);
  expect(fix).not.toContain('npm run restored');
});

test('a close code of the agent’s own is not a refusal', async () => {
  const { file, kept } = await setup();
  await file.ended(end(closeCodes.unauthenticated, { byServer: false }), now);
  expect(await kept()).toBeUndefined();
});
