import { expect, onTestFinished, test, vi } from 'vitest';
import { ed25519KeyPair } from '../../testing/ssh-keys.ts';
import { KeptKeys } from './kept-keys.ts';
import { parsePrivateKey } from './private-key.ts';

function setup() {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  const read = vi.fn(parsePrivateKey);
  return { keys: new KeptKeys(read), read };
}

const { private: text, public: line } = ed25519KeyPair();

test('a key is read once while it is in use, and again some minutes after its last use', () => {
  const { keys, read } = setup();
  const first = keys.parse(text, undefined);
  vi.advanceTimersByTime(299_000);
  expect(keys.parse(text, undefined)).toBe(first);
  vi.advanceTimersByTime(299_000);
  keys.parse(text, undefined);
  expect(read).toHaveBeenCalledOnce();
  vi.advanceTimersByTime(300_000);
  keys.parse(text, undefined);
  expect(read).toHaveBeenCalledTimes(2);
});

test('a key with another passphrase is another key, and one that can’t be read is not read again', () => {
  const { keys, read } = setup();
  const locked = ed25519KeyPair({ passphrase: 'right', cipher: 'aes256-ctr', rounds: 4 }).private;
  for (let n = 0; n < 2; n += 1) expect(() => keys.parse(locked, 'wrong')).toThrow('does not open');
  expect(keys.parse(locked, 'right').type).toBe('ssh-ed25519');
  expect(read).toHaveBeenCalledTimes(2);
});

test('no more than 64 keys are kept', () => {
  const { keys, read } = setup();
  for (let n = 0; n < 65; n += 1) keys.parse(text, `unused ${n}`);
  keys.parse(text, 'unused 64');
  expect(read).toHaveBeenCalledTimes(65);
  keys.parse(text, 'unused 0');
  expect(read).toHaveBeenCalledTimes(66);
});

test('what a kept key signs is verified by its public key', () => {
  const { keys } = setup();
  const data = Buffer.from('to be signed');
  const key = keys.parse(text, undefined);
  expect(key.verify(data, key.sign(data) as Buffer)).toBe(true);
  expect(key.getPublicSSH().toString('base64')).toBe(line.split(' ')[1]);
});
