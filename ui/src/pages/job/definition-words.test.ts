import { describe, expect, it } from 'vitest';
import { configWords, runRules, stepRules } from './definition-words.ts';

const step = { name: 'apply', type: 'ssh.exec' as const, config: {} };

describe('a job in words', () => {
  it('is empty if all hosts start at once', () => expect(runRules({})).toEqual([]));

  it('says how batches grow, how many failures it tolerates and what then', () => {
    expect(
      runRules({
        strategy: {
          batches: [1, '10%'],
          max_parallel: 8,
          max_failures: '5%',
          batch_max_failures: 1,
          order: 'name',
        },
        locks: [{ name: 'lb', mode: 'exclusive', per: 'segment' }],
      }),
    ).toEqual([
      'In batches of 1, then 10%, and 10% from there on: each opens when the previous one has ended.',
      'At most 8 hosts at a time.',
      'Hosts in order of name.',
      'Tolerates failures on 5% of the hosts, and 1 failure per batch; beyond that, no further host starts.',
      'Each host holds the lock lb, exclusive in its segment, from its first step to its end.',
    ]);
    expect(runRules({ strategy: { on_exceeded: 'continue' } })).toEqual([
      'Tolerates no failure; beyond that, the run continues but ends failed.',
    ]);
    // If only batches have a limit, only that one counts.
    expect(runRules({ strategy: { batch_max_failures: 2 } })).toEqual([
      'Tolerates 2 failures per batch; beyond that, no further host starts.',
    ]);
  });
});

describe('a step in words', () => {
  it('is empty if the step has no rules', () => expect(stepRules(step)).toEqual([]));

  it('says when it runs, how it is retried, and what follows an unknown outcome', () => {
    expect(
      stepRules({
        ...step,
        when_status: 'failure',
        retry: { attempts: 3, delay: 30, on: ['exit_code', 'connect_timed_out'] },
        on_unknown: 'hold',
        hold_for: 7200,
        idempotent: true,
      }),
    ).toEqual([
      'Runs only when a step before it failed, timed out or was cancelled.',
      'Tried up to 3 times, again after 30 s, then 2 times as long each time, at most 1 h, on exit code, connect timed out.',
      'If nobody knows how it ended, it waits for a decision for 2 h.',
      'Running it twice does no harm (idempotent).',
    ]);
    expect(stepRules({ ...step, retry: { attempts: 2, delay: 0, on: ['signal'] } })).toEqual([
      'Tried up to 2 times, again at once, on signal.',
    ]);
  });

  it('shows its configuration without the command, including unknown settings', () => {
    expect(
      configWords({
        command: 'true',
        timeout: 1800,
        environment: { A: '1', B: '2' },
        expected_exit_codes: [0, 3],
        survive_agent_restart: true,
        limits: { memory_mb: 512, nice: 5 },
      }).map(({ name, value }) => [name, value]),
    ).toEqual([
      ['timeout', '30 min'],
      ['environment', 'A=1 B=2'],
      ['expected exit codes', '0, 3'],
      ['survive agent restart', 'yes: it continues without an agent'],
      ['limits', 'memory mb 512, nice 5'],
    ]);
  });
});
