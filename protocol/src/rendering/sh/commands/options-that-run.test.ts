import { expect, test } from 'vitest';
import type { Word } from '../reading/syntax.ts';
import { runsOption } from './options-that-run.ts';

function word(text: string): Word {
  return { segments: [{ kind: 'text', text, quoting: 'bare', at: 0 }], at: 0, end: text.length };
}

test.each([
  ['tar', '--to-command=cat', undefined],
  ['tar', 'cat', '--to-command'],
  ['/bin/tar', 'zstd', '-I'],
  ['git', 'core.pager=less', '-c'],
  ['git', '--template=/x', undefined],
  ['split', '--filter=cat', undefined],
  ['gcc-12', 'time', '-wrapper'],
  ['tcpdump', 'gzip', '-nz'],
  ['tar', 'zstd', 'cIf'],
  ['apt-get', 'DPkg::Pre-Invoke::=ls', '-o'],
  ['dialog', 'options.txt', '--file'],
  ['cmake', '-Csettings.cmake', undefined],
  ['capsh', '--shell=bash', undefined],
  ['start-stop-daemon', '--startas=bash', undefined],
  ['a-program-that-nobody-knows', 'vi', '--editor'],
  [undefined, '--command=ls', undefined],
])('%s: %s behind %s is a command', (name, text, before) => {
  expect(runsOption(name, word(text), before === undefined ? undefined : word(before))).toBe(true);
});

test.each([
  ['grep', 'text', '-c'],
  ['tar', 'a.tar', '-f'],
  ['tar', 'a.tar', '--to-command=cat'],
  ['tar', '--exclude=--to-command', undefined],
  ['split', 'cat', '--bytes=1'],
  ['tcpdump', 'port', '-zgzip'],
  ['tar', 'Images/x', 'a.tar'],
  ['apt-get', 'Acquire::http::Proxy=http://a', '-o'],
  ['dnf', '--setopt=proxy=http://a', undefined],
])('%s: %s behind %s is none', (name, text, before) => {
  expect(runsOption(name, word(text), before === undefined ? undefined : word(before))).toBe(false);
});
