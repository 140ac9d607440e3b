// biome-ignore-all lint/suspicious/noTemplateCurlyInString: placeholders are written so
import { describe, expect, it } from 'vitest';
import { checkDefinition } from './check-definition.ts';

const step = (config: object, more: object = {}) => ({ name: 'a', type: 'ssh.exec', config, ...more });
const told = (definition: object) =>
  checkDefinition({ name: 'job', ...definition }).map(({ path, message }) => `${path}: ${message}`);

describe('a definition', () => {
  it('may have placeholders in texts whose form is checked when they are filled in', () => {
    const parameters = { dir: { type: 'string' }, n: { type: 'integer' } };
    const config = {
      command: 'true',
      working_directory: '${{ parameters.dir }}',
      environment: { N: '${{ parameters.n }}' },
    };
    const given = { parameters, steps: [step(config)] };
    expect(told(given)).toEqual([]);
    expect(given.steps[0]?.config).toEqual(config);
    expect(told({ parameters, steps: [step({ ...config, working_directory: 'relative' })] })).toHaveLength(1);
  });

  it('has no placeholder where a number stands, or where nothing is filled in', () => {
    const parameters = { n: { type: 'integer' } };
    const config = { command: 'true', timeout: '${{ parameters.n }}' };
    expect(
      told({
        parameters,
        name: 'Deploy ${{ parameters.n }}',
        steps: [step(config, { connection: { credential: '${{ parameters.n }}' } })],
      }),
    ).toEqual([
      'steps[0].config.timeout: timeout takes an integer from 1 to 604800: from the start of the command, in seconds; a placeholder can’t stand here.',
      'name: Takes no placeholder: they go into `command`, `working_directory` and the values of `environment` of a step.',
      'steps[0].connection.credential: Takes no placeholder: they go into `command`, `working_directory` and the values of `environment` of a step.',
    ]);
  });

  it('is not asked about a parameter that is wrong in itself more than once', () => {
    const parameters = { n: { type: 'integr' }, m: { type: 'integer', minLength: 1 } };
    const steps = [
      step({ command: 'echo "${{ parameters.n }}"' }, { when: 'parameters.n == 1 && parameters.m == 1' }),
    ];
    expect(told({ parameters, rules: [{ check: 'parameters.n > 1' }], steps })).toEqual([
      expect.stringMatching(/^parameters\.n\.type: Must be one of/),
      'parameters.m.minLength: minLength is for strings; parameters.m is of type integer.',
    ]);
  });
});
