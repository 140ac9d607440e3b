// Values that would make a step too large: one value may stand in thousands of places.
import { expect, test } from 'vitest';
import { limits, renderStep } from '../index.ts';
import { scopeFor, valuesFor } from './testing.ts';

const long = 'a'.repeat(limits.maxParameterCharacters);

test.each([
  ['a text', 'stdin', '${{ parameters.text }}', {}],
  ['raw text in a script', 'command', 'echo ${{ raw(parameters.text) }}\n', { pattern: '^a*$' }],
])(
  'values that make %s larger than memory should hold are refused before they are filled in',
  (_, field, text, more) => {
    const render = (times: number) => {
      const config = { command: 'cat', [field]: text.repeat(times) };
      return renderStep({ type: 'ssh.exec', config }, scopeFor(more), valuesFor({ text: long }));
    };
    expect(render(3).rendered).toBeDefined();
    const refused = render(1_000);
    expect(refused).toMatchObject({
      problems: [
        {
          path: `steps[0].config.${field}`,
          message: `With these values this is longer than ${limits.maxFilledInCharacters} characters.`,
        },
      ],
    });
  },
);

test('a value that a script has in thousands of places is assigned once', () => {
  const config = { command: 'echo "${{ parameters.text }}"\n'.repeat(2_000) };
  const { rendered } = renderStep({ type: 'ssh.exec', config }, scopeFor(), valuesFor({ text: long }));
  expect(JSON.stringify(rendered).length).toBeLessThan(2 * long.length);
});
