import { describe, expect, it } from 'vitest';
import { masterKeyIdOf, newDataKey, rewrapDataKey, unwrapDataKey, wrapDataKey } from './data-key.ts';
import { newMasterKey } from './master-key.ts';

const masterKey = newMasterKey();
const dataKey = newDataKey();

describe('a wrapped data key', () => {
  it('opens under its master key for its context', () => {
    const wrapped = wrapDataKey(masterKey, dataKey, 'run/42');
    expect(unwrapDataKey(masterKey, wrapped, 'run/42')).toEqual(dataKey);
  });

  it('carries the id of its master key, and is refused under another one by that id', () => {
    const other = newMasterKey();
    const wrapped = wrapDataKey(masterKey, dataKey, 'run/42');
    expect(masterKeyIdOf(wrapped)).toBe(masterKey.id);
    expect(() => unwrapDataKey(other, wrapped, 'run/42')).toThrow(
      `wrapped under master key ${masterKey.id}, but this server holds ${other.id}`,
    );
  });

  it('is refused for another context', () => {
    const wrapped = wrapDataKey(masterKey, dataKey, 'run/42');
    expect(() => unwrapDataKey(masterKey, wrapped, 'job/42')).toThrow('altered or moved');
  });

  it('is refused with the name of another master key written on it', () => {
    const other = newMasterKey();
    const renamed = wrapDataKey(masterKey, dataKey, 'run/42').replace(masterKey.id, other.id);
    expect(() => unwrapDataKey(other, renamed, 'run/42')).toThrow('altered or moved');
  });

  it.each(['', 'dk1', 'dk2.mk-1.AAAA', 'dk1.mk-1.AAAA.AAAA'])(
    'is refused as damaged when it is %j',
    (text) => {
      expect(() => masterKeyIdOf(text)).toThrow('altered');
    },
  );

  it('is refused as damaged when it is cut short', () => {
    expect(() => unwrapDataKey(masterKey, `dk1.${masterKey.id}.AAAA`, 'run/42')).toThrow('altered');
  });

  it('is never wrapped twice to the same text', () => {
    expect(wrapDataKey(masterKey, dataKey, 'run/42')).not.toBe(wrapDataKey(masterKey, dataKey, 'run/42'));
  });

  it('moves to a new master key without changing', () => {
    const next = newMasterKey();
    const moved = rewrapDataKey(masterKey, next, wrapDataKey(masterKey, dataKey, 'run/42'), 'run/42');
    expect(masterKeyIdOf(moved)).toBe(next.id);
    expect(unwrapDataKey(next, moved, 'run/42')).toEqual(dataKey);
  });
});

it('data keys are 32 bytes and never the same', () => {
  expect(newDataKey()).toHaveLength(32);
  expect(newDataKey()).not.toEqual(newDataKey());
});
