import { createHash } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import { generateSigningKeyPair, type KeyPair } from '../sealing/keys.ts';
import {
  type Checkpoint,
  readCheckpoint,
  type SignedCheckpoint,
  signCheckpoint,
  verifyCheckpoint,
} from './checkpoint.ts';
import { leafHash } from './merkle.ts';

const installationId = '6f1e2b3c-0000-4000-8000-000000000000';
const checkpoint: Checkpoint = {
  installationId,
  size: 42,
  rootHash: leafHash('root'),
  number: 7,
  previousHash: leafHash('before'),
  sealedAt: '2026-01-31T08:00:00.123Z',
};
let key: KeyPair;
let signed: SignedCheckpoint;
beforeAll(async () => {
  key = await generateSigningKeyPair();
  signed = await signCheckpoint(key, checkpoint);
});

describe('a checkpoint', () => {
  it('is a signed note, line by line', () => {
    const origin = `opsconductor.audit/${installationId}`;
    const lines = signed.note.split('\n');
    expect(lines.slice(0, 7)).toEqual([
      origin,
      '42',
      checkpoint.rootHash.toString('base64'),
      'number 7',
      `previous ${checkpoint.previousHash.toString('base64')}`,
      'time 2026-01-31T08:00:00.123Z',
      '',
    ]);
    const id = createHash('sha256').update(`${origin}\n\x01`).update(key.publicKey).digest().subarray(0, 4);
    const [dash, name, bytes = ''] = (lines[7] ?? '').split(' ');
    expect([dash, name]).toEqual(['—', origin]);
    expect(Buffer.from(bytes, 'base64').subarray(0, 4)).toEqual(id);
    expect(lines.slice(8)).toEqual(['']);
  });

  it('is read back as it was written', async () => {
    const read = await verifyCheckpoint(key.publicKey, installationId, signed.note);
    expect(read).toEqual({ ...checkpoint, note: signed.note, hash: signed.hash });
  });

  it('is refused if anything in it was altered', async () => {
    const alterations: [string, string][] = [
      ['\n42\n', '\n41\n'],
      ['number 7', 'number 8'],
      ['time 2026', 'time 2025'],
      [checkpoint.rootHash.toString('base64'), leafHash('other').toString('base64')],
      ['previous ', 'previous  '],
    ];
    for (const [what, instead] of alterations) {
      const note = signed.note.replace(what, instead);
      expect(note).not.toBe(signed.note);
      await expect(verifyCheckpoint(key.publicKey, installationId, note)).rejects.toThrow();
    }
  });

  it('is refused for another key and for another installation', async () => {
    const other = await generateSigningKeyPair();
    await expect(verifyCheckpoint(other.publicKey, installationId, signed.note)).rejects.toMatchObject({
      reason: 'wrong_signature',
    });
    const elsewhere = installationId.replace('6f', '7f');
    await expect(verifyCheckpoint(key.publicKey, elsewhere, signed.note)).rejects.toMatchObject({
      reason: 'wrong_signature',
    });
  });

  it('with a further signature of a witness is still valid', async () => {
    const witnessed = `${signed.note}— witness.example/w1 AAAAAAAA\n`;
    await expect(verifyCheckpoint(key.publicKey, installationId, witnessed)).resolves.toMatchObject({
      size: 42,
    });
  });

  it('is not any other text', () => {
    for (const text of ['', 'hello', '\n\n', `${signed.note}x`.repeat(20), 'a\n\n— b c\n'])
      expect(() => readCheckpoint(text)).toThrow('this is not');
  });
});
