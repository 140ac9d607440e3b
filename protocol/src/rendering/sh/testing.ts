// Scripts in which a value may not stand, and the checks of them.
import { describe, expect, test } from 'vitest';
import { checkStep } from '../index.ts';
import { scopeFor } from '../testing.ts';

/** The placeholder of a string. */
export const T = '${{ parameters.text }}';

/** `⟦` precedes what is refused; `T` stands for a placeholder of a string. Then words of the reason and of the fix. */
export type Refused = readonly [command: string, why: string, fix: string];

/** Returns what is wrong with a step that has this command. */
export function problemsOf(config: { command: string; shell?: string }) {
  return checkStep({ type: 'ssh.exec', config }, scopeFor());
}

/** Puts the placeholder where a `T` is not part of a word. */
export function withPlaceholders(text: string): string {
  const isPlaceholder = (at: number) =>
    !/[A-Za-z_]/.test(text[at - 1] ?? '') && !/[A-Z_a-z]/.test(text[at + 1] ?? '');
  return text.replaceAll('T', (_, at: number) => (isPlaceholder(at) ? T : 'T'));
}

/** Each is refused when saving, with the place, the reason and how to write it instead. */
export function testRefused(kinds: Record<string, readonly Refused[]>): void {
  for (const [kind, cases] of Object.entries(kinds)) {
    describe(kind, () => {
      test.each(cases)('%s', (marked, why, fix) => {
        const written = withPlaceholders(marked);
        const at = written.indexOf('⟦');
        const command = written.replace('⟦', '');
        const problems = problemsOf({ command });
        const before = command.slice(0, at);
        const place = `Line ${before.split('\n').length}, column ${before.length - before.lastIndexOf('\n')}: `;
        expect(problems.map(({ message }) => message)).toContainEqual(expect.stringContaining(place));
        const { message = '', path } = problems.find((problem) => problem.message.startsWith(place)) ?? {};
        expect(path).toBe('steps[0].config.command');
        expect(message).toContain(why);
        // The reason is followed by how to write it instead.
        expect(message.slice(message.indexOf(why) + why.length)).toMatch(/\. \S/);
        expect(message).toContain(fix);
      });
    });
  }
}
