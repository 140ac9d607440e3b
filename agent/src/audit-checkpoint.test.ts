import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AgentMessage } from '@opsconductor/protocol';
import {
  consistencyRanges,
  Frontier,
  type Hash,
  leafHash,
  type SignedCheckpoint,
  signCheckpoint,
} from '@opsconductor/protocol/audit';
import { generateSigningKeyPair, type KeyPair } from '@opsconductor/protocol/sealing';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { AuditCheckpoint } from './audit-checkpoint.ts';
import { createLog } from './log.ts';

const installationId = randomUUID();
const log = createLog({ plain: false, level: 'silent' });
let key: KeyPair;
let folder: string;
let path: string;
let clockMs: number;
let replies: AgentMessage[];

beforeEach(async () => {
  key = await generateSigningKeyPair();
  folder = await mkdtemp(join(tmpdir(), 'opsconductor-checkpoint-'));
  path = join(folder, 'audit-checkpoint.json');
  clockMs = 0;
  replies = [];
});
afterEach(async () => {
  vi.restoreAllMocks();
  await rm(folder, { recursive: true });
});

const open = () =>
  AuditCheckpoint.open({
    path,
    identity: { installationId, serverKey: key.publicKey },
    log,
    now: () => clockMs,
  });

/** The root of a log of rows `row 0`, `row 1`, …; another `text` stands for another past. */
function rootOf(from: number, to: number, text = 'row'): Hash {
  const frontier = new Frontier();
  for (let i = from; i < to; i++) frontier.append(leafHash(`${text} ${i}`));
  return frontier.root;
}

function checkpoint(size: number, text?: string, signer = key): Promise<SignedCheckpoint> {
  return signCheckpoint(signer, {
    installationId,
    size,
    rootHash: rootOf(0, size, text),
    number: size,
    previousHash: Buffer.alloc(32),
    sealedAt: '2026-01-31T08:00:00.000Z',
  });
}

const proofOf = (from: number, to: number, text?: string) =>
  from === 0 || from >= to
    ? []
    : consistencyRanges(from, to).map((range) => rootOf(...range, text).toString('base64'));

async function offer(
  kept: AuditCheckpoint,
  { note }: SignedCheckpoint,
  proof: string[],
  from = kept.size ?? 0,
) {
  await kept.take({ type: 'audit_checkpoint', from, note, proof }, (message) => replies.push(message));
}

it('keeps the first checkpoint and each that continues it, across restarts', async () => {
  let kept = await open();
  expect(kept.size).toBe(0);
  await offer(kept, await checkpoint(5), []);
  await offer(kept, await checkpoint(9), proofOf(5, 9));
  kept = await open();
  expect(kept.size).toBe(9);
  await offer(kept, await checkpoint(30), proofOf(9, 30));
  expect((await open()).size).toBe(30);
  expect(replies).toEqual([]);
});

it('refuses a smaller log, says so, keeps its own checkpoint, and keeps the refused one as evidence', async () => {
  const kept = await open();
  const newest = await checkpoint(9);
  const lower = await checkpoint(5);
  await offer(kept, newest, []);
  await offer(kept, lower, []);
  expect(replies).toEqual([
    { type: 'audit_checkpoint_refused', reason: 'lower', held: newest.note, offered: lower.note },
  ]);
  expect((await open()).size).toBe(9);
  expect(JSON.parse(await readFile(path, 'utf8'))).toEqual({
    note: newest.note,
    refused: { reason: 'lower', at: '1970-01-01T00:00:00.000Z', note: lower.note },
  });
});

it('refuses a longer log with a different past, whatever proof comes with it', async () => {
  const kept = await open();
  await offer(kept, await checkpoint(5), []);
  for (const proof of [proofOf(5, 9), proofOf(5, 9, 'other'), []]) {
    clockMs += 60_000;
    await offer(kept, await checkpoint(9, 'other'), proof);
  }
  await offer(kept, await checkpoint(5, 'other'), []);
  expect(replies.map((reply) => 'reason' in reply && reply.reason)).toEqual(['forked', 'forked', 'forked']);
  expect(kept.size).toBe(5);
});

it('refuses a checkpoint that was not signed by the server it was enrolled at', async () => {
  const kept = await open();
  await offer(kept, await checkpoint(5, 'row', await generateSigningKeyPair()), []);
  expect(replies).toMatchObject([{ reason: 'wrong_signature' }]);
  expect(kept.size).toBe(0);
});

it('ignores an offer that was made for an older checkpoint than the one it keeps now', async () => {
  const kept = await open();
  await offer(kept, await checkpoint(5), []);
  await offer(kept, await checkpoint(7), proofOf(5, 7));
  await offer(kept, await checkpoint(9), proofOf(5, 9), 5);
  expect(kept.size).toBe(7);
  expect(replies).toEqual([]);
});

it('logs the same problem once an hour, with what to do about it', async () => {
  const kept = await open();
  const errors = vi.spyOn(log, 'error');
  await offer(kept, await checkpoint(9), []);
  for (const ms of [0, 60_000, 60_000, 3_400_000]) {
    clockMs += ms;
    await offer(kept, await checkpoint(5), []);
  }
  expect(replies).toHaveLength(4);
  expect(errors).toHaveBeenCalledTimes(1);
  expect(errors).toHaveBeenCalledWith(
    { reason: 'lower', kept: 9, path },
    expect.stringContaining('stop this agent, move this file away and keep it, and start the agent again'),
  );
  await offer(kept, await checkpoint(5, 'row', await generateSigningKeyPair()), []);
  clockMs += 3_600_000;
  await offer(kept, await checkpoint(5), []);
  expect(errors).toHaveBeenCalledTimes(2);
});

it('logs once an hour that its disk refuses checkpoints, and again if it does after it took one', async () => {
  const kept = await open();
  const errors = vi.spyOn(log, 'error');
  await rm(folder, { recursive: true });
  for (const ms of [0, 5_000, 5_000]) {
    clockMs += ms;
    await offer(kept, await checkpoint(5), []);
  }
  expect(errors).toHaveBeenCalledTimes(1);
  clockMs += 3_600_000;
  await offer(kept, await checkpoint(5), []);
  expect(errors).toHaveBeenCalledTimes(2);
  await mkdir(folder);
  await offer(kept, await checkpoint(5), []);
  expect(kept.size).toBe(5);
  await rm(folder, { recursive: true });
  await offer(kept, await checkpoint(7), proofOf(5, 7));
  expect(errors).toHaveBeenCalledTimes(3);
  expect(errors).toHaveBeenLastCalledWith(expect.anything(), expect.stringContaining('could not be stored'));
  await mkdir(folder);
});

it('reports the same problem once a minute', async () => {
  const kept = await open();
  await offer(kept, await checkpoint(9), []);
  for (const ms of [0, 1_000, 59_000, 1_000]) {
    clockMs += ms;
    await offer(kept, await checkpoint(5), []);
  }
  expect(replies).toHaveLength(2);
});

it('accepts no other checkpoint if its file does not verify, and does not overwrite it', async () => {
  await writeFile(path, '{"note":"nonsense"}');
  const kept = await open();
  expect(kept.size).toBeUndefined();
  await offer(kept, await checkpoint(5), [], 0);
  expect(await readFile(path, 'utf8')).toBe('{"note":"nonsense"}');
});
