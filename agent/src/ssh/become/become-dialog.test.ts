import { expect, test } from 'vitest';
import { BecomeDialog, becomeCommand } from './become-dialog.ts';

const nonce = '0123456789abcdef0123456789abcdef';
const word = `${nonce} su\n`;

/** Returns what is made of pieces of output, one after the other. */
function heard(method: 'sudo' | 'su', ...pieces: ['stdout' | 'stderr', string][]) {
  const dialog = new BecomeDialog(method, nonce);
  return pieces.map(([stream, text]) => dialog.push(stream, Buffer.from(text)));
}

test.each(['stdout', 'stderr'] as const)('su asks in its own words on %s, behind the word', (stream) => {
  expect(heard('su', [stream, word], [stream, 'Password: '])).toEqual([undefined, 'asked']);
  expect(heard('su', [stream, `hello\r\n${word.replace('\n', '\r\n')}Password:`])).toEqual(['asked']);
  expect(heard('su', [stream, `${word}Password: `], [stream, '\nPassword: '])).toEqual(['asked', 'asked']);
});

test('who asks for a password before su was started gets none', () => {
  expect(heard('su', ['stderr', 'Enable password: '], ['stdout', 'Password: '])).toEqual([
    undefined,
    undefined,
  ]);
  // The other stream may arrive first.
  expect(heard('su', ['stdout', word], ['stderr', 'Password: '], ['stderr', `\n${word}Password: `])).toEqual([
    undefined,
    undefined,
    'asked',
  ]);
  expect(heard('sudo', ['stderr', 'Password: '], ['stderr', `${nonce} ask`])).toEqual([undefined, 'asked']);
});

test('the word comes on both streams before su does, and is no part of what was said', () => {
  const command = becomeCommand({ method: 'su', user: 'root', password: undefined }, nonce);
  expect(command).toMatch(new RegExp(`echo ${nonce} su; echo ${nonce} su >&2; exec su root`));
  const dialog = new BecomeDialog('su', nonce);
  dialog.push('stderr', Buffer.from(`${word}su: Authentication failure\n`));
  expect(dialog.said).toBe('su: Authentication failure');
});

test.each([
  ['method', { method: 'sh -c id; sudo' as 'sudo' }],
  ['user', { user: 'root; id' }],
])('a %s that would run something else is refused, whoever has checked it', (_, other) => {
  const become = { method: 'sudo', user: 'root', password: undefined, ...other } as const;
  expect(() => becomeCommand(become, nonce)).toThrow(/^not a/);
});
