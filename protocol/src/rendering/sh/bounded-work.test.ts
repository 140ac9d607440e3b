// Scripts designed to stall the server. Work is counted, because time depends on the machine. Each of these took
// minutes, or the whole stack, in a parser that backtracks or an analysis that starts over.
import { expect, test } from 'vitest';
import { checkStep } from '../index.ts';
import { scopeFor } from '../testing.ts';
import { WordReader } from './reading/word-reader.ts';

const value = '${{ parameters.text }}';
const filled = (text: string, size: number) => text.repeat(Math.floor(size / text.length));
const numbered = (size: number, line: (at: number, of: number) => string, between = '\n') => {
  const of = Math.floor(size / 16);
  return Array.from({ length: of }, (_, at) => line(at, of)).join(between);
};
const nested = (begin: string, end: string, inside: string) =>
  `x=${value}\n${begin.repeat(45)}\n${inside}${end.repeat(45)}`;

const hostile: Record<string, (size: number) => string> = {
  'arithmetic that is none, inside itself': (size) => `echo ${value} ${filled('$(( ', size)}`,
  'arithmetic that is none, closed': () => `echo ${value} ${'$(('.repeat(90)}1${') )'.repeat(90)}`,
  'arithmetic that is none, side by side': (size) => `echo ${value} ${filled('$((a) ) ', size)}`,
  'subshells that could be arithmetic': () => `echo ${value}; ${'(('.repeat(45)} x ${') )'.repeat(45)}`,
  'functions that call each other': () =>
    `${Array.from({ length: 60 }, (_, at) => `f${at}() { f${at + 1}; f${at + 1}; }`).join('\n')}\necho ${value} | f0`,
  'functions that are each other’s bodies': (size) => `echo ${value}; ${filled('f() ', size)}`,
  'a value handed on from line to line, the last one first': (size) =>
    `a0=${value}\n${numbered(size, (at, of) => `a${of - at}="$a${of - at - 1}"`)}`,
  'a long pipeline': (size) => `echo ${value}${filled('|a', size)}`,
  'here-documents on one line': (size) => `cat ${filled('<<E ', size / 2)}\n${filled('E\n', size)}`,
  'one word of placeholders': (size) => `echo ${filled(value, size)}`,
  'tildes before placeholders': (size) => `echo ${filled(`:~${value}`, size)}`,
  'brackets behind a long word': (size) => `echo ${value} ${'a'.repeat(size / 2)}+${'['.repeat(size / 2)}`,
  'placeholders that are not closed': (size) => filled('${{x ', size),
  'placeholders in the wrong place': (size) => filled(`'${value}' `, size),
  'quotes without end': (size) => `echo ${value} ${filled('"$(', size)}`,
  'backticks in backticks': (size) => `echo ${value} ${filled('`\\`', size)}`,
  'wrappers of wrappers': (size) => `${filled('sudo ', size)}${value}`,
  'launchers of launchers': (size) => `${filled('fakeroot ', size)}${value}`,
  'a launcher with many options': (size) => `fakeroot ${filled('-x fakeroot ', size)}${value}`,
  'commands of launchers': (size) => filled(`fakeroot -x nice ls ${value}; `, size),
  'one output into many files': (size) => `echo ${value}${numbered(size, (at) => ` >f${at}`, '')}\n. ./f0`,
  'one command that writes many files': (size) =>
    `echo ${value} | tee${numbered(size, (at) => ` f${at}`, '')}\n. ./f0`,
  'input that is opened again and again': (size) => `x=${value}\n${filled('exec <<<"$x"\n', size)}`,
  'pipelines inside one another': (size) => nested('a | { ', '} | b; ', filled('y=$x\n', size)),
  'shells inside one another': (size) => nested('{ ', '} | sh; ', filled('y=$x\n', size)),
  'many shells that read one text': (size) =>
    `echo ${value}; echo '${'a'.repeat(size / 2)}' | { ${filled('sh; ', size / 2)}}`,
  'one text with many shells in it that read it': (size) => `echo ${value} ${filled('>(sh) ', size)}`,
  'a text that goes through many commands': (size) => `echo ${value} ${filled('| tee ', size)}| sh`,
  'functions inside one another that write files': (size) =>
    nested('f() { ', '} >f; ', filled('y=$x\n', size)),
  'a here-document that many shells read': (size) =>
    `x=${value}\n{ ${filled('sh;', size / 2)} } <<'E'\n${'a;'.repeat(size / 4)}\nE`,
  'here-documents for shells inside one another': (size) =>
    `x=${value}\n${numbered(1_400, (at) => `sh <<'E${at}'`)}\n${filled('echo "$x"\n', size)}${numbered(1_400, (at, of) => `E${of - at - 1}`)}\n`,
  'an output that many shells read': (size) =>
    `x=${value}\necho ${filled('a ', size)}| tee ${filled('>(sh) ', size)}`,
  'an output that goes on from tee to tee': (size) =>
    `x=${value}\necho ${filled('a ', size)}${filled('| tee >(sh) ', size)}`,
};

const generators = Object.getPrototypeOf(function* () {}).prototype as Generator;

/** How often a character was looked at, or one part of the script was handed on. */
function workOf(command: string): number {
  let count = 0;
  const { peek } = WordReader.prototype;
  const { next } = generators;
  // Spies would keep each of a million calls.
  WordReader.prototype.peek = function (...given) {
    count += 1;
    return peek.apply(this, given);
  };
  generators.next = function (...given) {
    count += 1;
    return next.apply(this, given);
  };
  try {
    checkStep({ type: 'ssh.exec', config: { command } }, scopeFor());
  } finally {
    WordReader.prototype.peek = peek;
    generators.next = next;
  }
  return count;
}

test.each(Object.entries(hostile))('%s: twice the text takes twice the work', (_, text) => {
  const [small, large] = [workOf(text(4_000)), workOf(text(8_000))];
  expect(large).toBeLessThan(2.5 * small + 1_000);
  expect(large).toBeLessThan(2_000_000);
});

test('the largest possible definition is checked for each of them', () => {
  const scope = scopeFor();
  for (const text of Object.values(hostile)) {
    const command = text(131_000).slice(0, 131_072);
    expect(checkStep({ type: 'ssh.exec', config: { command } }, scope).length).toBeLessThanOrEqual(60);
  }
});

/** What is not counted, since it happens within a pattern: with one that begins anew at each character, 10 s and more. */
test.each([
  ['ssh.exec', 'a name that ends in no version', `${'1'.repeat(130_000)}x ${value}`],
  ['ssh.exec', 'braces that are not closed', `${'{'.repeat(130_000)}x ${value}`],
  ['winrm.exec', 'a name that ends in no version', `${'1'.repeat(130_000)}x ${value}`],
  ['winrm.exec', 'a name that ends in no dots', `${'.'.repeat(130_000)}x ${value}`],
])('%s, %s: a long word takes no seconds to check', (type, _, command) => {
  const config = { command, ...(type === 'winrm.exec' ? { shell: 'cmd' } : {}) };
  const begunMs = performance.now();
  checkStep({ type, config }, scopeFor());
  expect(performance.now() - begunMs).toBeLessThan(5_000);
});

test('an ordinary script with many placeholders is scanned only a few times', () => {
  const line = `echo ${value} "${'word '.repeat(60)}"\n`;
  const command = line.repeat(200);
  expect(command.length).toBeGreaterThan(64 * 1024);
  expect(checkStep({ type: 'ssh.exec', config: { command } }, scopeFor())).toEqual([]);
  expect(workOf(command)).toBeLessThan(command.length);
});
