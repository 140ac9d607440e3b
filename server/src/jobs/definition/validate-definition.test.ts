import { describe, expect, it } from 'vitest';
import { AppError } from '../../errors.ts';
import { validateDefinition } from './validate-definition.ts';

const step = (name: unknown, config: unknown = { command: 'uptime' }, type: unknown = 'ssh.exec') => ({
  name,
  type,
  config,
});

function problems(definition: unknown): AppError {
  try {
    validateDefinition(definition);
  } catch (error) {
    if (error instanceof AppError) return error;
    throw error;
  }
  throw new Error('the definition was accepted');
}
const paths = (definition: unknown) => problems(definition).details.map((detail) => detail.path);

describe('a job definition', () => {
  it('is returned with defaults, and the given value is not changed', () => {
    const given = { name: 'job', steps: [step('a')] };
    const before = structuredClone(given);
    expect(validateDefinition(given).steps[0]?.config).toMatchObject({ command: 'uptime', timeout: 300 });
    expect(given).toEqual(before);
  });

  it('is refused with all problems at once, each at its path', () => {
    const definition = {
      name: ' padded',
      surprise: true,
      steps: [
        step('a', { command: 'ok', timeout: 0, sudo: true }),
        step('a', { timeout: 'soon' }),
        step('c', 'uptime'),
      ],
    };
    expect(paths(definition).sort()).toEqual([
      'name',
      'steps[0].config.sudo',
      'steps[0].config.timeout',
      'steps[1].config.command',
      'steps[1].config.timeout',
      'steps[1].name',
      'steps[2].config',
      'surprise',
    ]);
  });

  it('with an unknown step type is told the known ones', () => {
    const error = problems({ name: 'job', steps: [step('a', {}, 'ssh.exce'), step('b', { timeout: 0 })] });
    const detail = error.details.find(({ path }) => path === 'steps[0].type');
    expect(detail?.allowed).toContain('ssh.exec');
    expect(detail?.found).toContain('ssh.exce');
    expect(error.details.map(({ path }) => path)).toContain('steps[1].config.timeout');
  });

  it('whose rules contradict one another is told for each what is wrong and what to do', () => {
    const definition = {
      name: 'job',
      steps: [
        { ...step('first'), on_unknown: 'retry', hold_for: 600, when_status: 'failure' },
        { ...step('second'), retry: { attempts: 3, delay: 60, max_delay: 30 }, idempotent: false },
        { ...step('third'), on_unknown: 'retry', idempotent: false },
        {
          ...step('fourth'),
          on_unknown: 'retry',
          idempotent: true,
          retry: { attempts: 2 },
          when_status: 'failure',
        },
      ],
    };
    expect(problems(definition).details).toEqual([
      {
        path: 'steps[0].on_unknown',
        message:
          'A step that may have run is run again only if that does no harm: say `idempotent: true` if so, or use `hold` to be asked.',
        found: '"retry"',
        allowed: '`fail` or `hold`; `retry` with `idempotent: true`',
      },
      {
        path: 'steps[0].hold_for',
        message: 'Has no effect without `on_unknown: hold`.',
        found: '600',
        allowed: 'only with `on_unknown: hold`',
      },
      {
        path: 'steps[0].when_status',
        message: 'There is no earlier step that could fail.',
        found: '"failure"',
        allowed: '`success` or `always` for the first step',
      },
      {
        path: 'steps[1].retry.max_delay',
        message: 'The first delay, 60 s, is already longer.',
        found: '30',
        allowed: '60 or more',
      },
      expect.objectContaining({ path: 'steps[2].on_unknown' }),
    ]);
  });

  it('is told of rules with invalid values together with rules that contradict one another', () => {
    const definition = {
      name: 'job',
      steps: [
        {
          ...step('a'),
          on_unknown: 'retry',
          retry: { attempts: 1, backoff: 0, on: ['exit_code', 'unknown'] },
        },
        { ...step('b'), on_unknown: 'hold', hold_for: 5, when_status: 'sometimes' },
      ],
    };
    expect(paths(definition).sort()).toEqual([
      'steps[0].on_unknown',
      'steps[0].retry.attempts',
      'steps[0].retry.backoff',
      'steps[0].retry.on[1]',
      'steps[1].hold_for',
      'steps[1].when_status',
    ]);
  });

  it('cannot name a property of every object as its type', () => {
    for (const type of ['constructor', '__proto__', 'toString', null, 7, {}]) {
      expect(paths({ name: 'job', steps: [step('a', {}, type)] })).toContain('steps[0].type');
    }
  });

  it('with two steps of the same name is told which', () => {
    const error = problems({ name: 'job', steps: [step('same'), step('other'), step('same')] });
    expect(error.details).toMatchObject([{ path: 'steps[2].name', found: '"same"' }]);
    expect(error.message).toContain('Step 1');
  });

  it('with text that cannot be stored is refused at its path', () => {
    expect(paths({ name: 'job', description: 'a\0b', steps: [step('x\0')] })).toEqual([
      'description',
      'steps[0].name',
    ]);
    expect(paths({ name: 'job', steps: [step('a', { command: 'echo \ud800' })] })).toEqual([
      'steps[0].config.command',
    ]);
    expect(paths({ name: 'job', steps: [step('a', { command: 'a\0b' })] })).toEqual([
      'steps[0].config.command',
    ]);
  });

  it('with duplicate locks, or slots of an exclusive lock, is told which', () => {
    const locks = [
      { name: 'db', mode: 'exclusive', slots: 2 },
      { name: 'db', mode: 'shared' },
      { name: 'db', mode: 'shared', per: 'target' },
      { name: 'no good', mode: 'alone' },
    ];
    expect(paths({ name: 'job', steps: [step('a')], locks })).toEqual(
      expect.arrayContaining(['locks[0].slots', 'locks[1].name', 'locks[3].mode', 'locks[3].name']),
    );
    expect(paths({ name: 'job', steps: [step('a')], locks: locks.slice(0, 3) })).toEqual([
      'locks[0].slots',
      'locks[1].name',
    ]);
  });

  it('that is not a definition at all is refused without a crash', () => {
    for (const value of [
      null,
      undefined,
      7,
      'job',
      [],
      { steps: null },
      { name: 'x', steps: [null, 7, []] },
    ]) {
      expect(problems(value).code).toBe('invalid');
    }
  });

  it('with thousands of mistakes gets a short answer', () => {
    const config = Object.fromEntries(Array.from({ length: 5_000 }, (_, n) => [`x${n}`, n]));
    expect(problems({ name: 'job', steps: [step('a', config)] }).details.length).toBeLessThanOrEqual(50);
  });
});
