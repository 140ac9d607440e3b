import { expect, it } from 'vitest';
import { fillable, filledPart, secretNames } from './from-starter.ts';

const parameters = {
  site: { type: 'string' },
  wave: { type: 'integer', default: 8, required: true },
  token: { type: 'string', secret: true },
} as const;

it('no value of a starter is required, and secrets are not asked for', () => {
  expect(fillable(parameters)).toEqual({
    site: { type: 'string', required: false },
    wave: { type: 'integer', default: 8, required: false },
  });
  expect(secretNames(parameters)).toEqual(['token']);
});

it('only parameters with a value are fixed', () => {
  expect(filledPart({ site: 'lyon', wave: 4 }, new Set(['site', 'token']))).toEqual({
    parameters: { site: 'lyon', wave: 4 },
    fixed: ['site'],
  });
  expect(filledPart({ wave: 4 }, new Set(['site']))).toEqual({ parameters: { wave: 4 } });
  expect(filledPart({}, new Set(['site']))).toEqual({});
});
