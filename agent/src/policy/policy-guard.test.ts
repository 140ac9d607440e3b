import type { Lease, LeaseTarget } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { SshError } from '../ssh/ssh-error.ts';
import { lease } from '../testing/agent-setup.ts';
import type { PolicyRules } from './agent-policy.ts';
import { PolicyGuard, type Refusal } from './policy-guard.ts';

const at = new Date('2026-03-27T12:00:00Z');
const target: LeaseTarget = { id: 1, name: 'web-1', host: 'web-1.example.com', port: 22, hostKeys: [] };

function setup(rules: PolicyRules) {
  const refusals: Refusal[] = [];
  const guard = new PolicyGuard({
    policy: { fileRoots: [], rules, source: { file: '/etc/policy.yaml', lineOf: () => 7 } },
    now: () => at,
    onRefusal: (refusal) => refusals.push(refusal),
  });
  /** The rule that refused, or undefined. */
  const ruleOf = (check: () => void): string | undefined => {
    refusals.length = 0;
    try {
      check();
      return undefined;
    } catch (error) {
      if (!(error instanceof SshError) || error.reason !== 'policy_refused') throw error;
      expect(refusals).toHaveLength(1);
      expect(refusals[0]?.message).toBe(error.message);
      return refusals[0]?.rule;
    }
  };
  return { guard, refusals, ruleOf };
}

function step(more: Partial<Lease> = {}): Lease {
  return lease(1, { stepType: 'ssh.exec', config: { command: 'true' }, target, ...more });
}

const winrm = { transport: 'https', authentication: 'ntlm', certificateCheck: 'verify' } as const;
const spliced = step({
  config: { command: 'systemctl ${{ raw(parameters.verb) }} nginx' },
  rendering: { scope: { path: 'steps[0]', parameters: {}, steps: {} }, values: {}, secrets: [] } as never,
});

type Row = [string, PolicyRules, (guard: PolicyGuard) => void, string | undefined];

test.each<Row>([
  ['another step type', { step_types: ['sftp.sync'] }, (g) => g.checkStep(step()), 'step_types'],
  ['a listed step type', { step_types: ['ssh.exec'] }, (g) => g.checkStep(step()), undefined],
  ...(['wait_for', 'reboot'] as const).flatMap((stepType): Row[] => [
    [
      `a script of ${stepType} where no ssh.exec is listed`,
      { step_types: ['sftp.upload', stepType] },
      (g) => g.checkScript({ command: 'id' }, step({ stepType })),
      'step_types',
    ],
    [
      `a script of ${stepType} with ssh.exec allowed`,
      { step_types: ['ssh.exec', stepType] },
      (g) => g.checkScript({ command: 'id' }, step({ stepType })),
      undefined,
    ],
    [
      `a ${stepType} without a script`,
      { step_types: [stepType] },
      (g) => g.checkScript({ port: 22 }, step({ stepType })),
      undefined,
    ],
  ]),
  [
    'a script of winrm.exec',
    { step_types: ['winrm.exec'] },
    (g) => g.checkScript({ command: 'whoami' }, step({ stepType: 'winrm.exec' })),
    undefined,
  ],
  [
    'a time outside',
    { hours: { timezone: 'UTC', windows: [{ from: '13:00', to: '14:00' }] } },
    (g) => g.checkStep(step()),
    'hours',
  ],
  [
    'a time inside',
    { hours: { timezone: 'UTC', windows: [{ from: '11:00', to: '13:00' }] } },
    (g) => g.checkStep(step()),
    undefined,
  ],
  ['a raw splice', { raw_splices: false }, (g) => g.checkStep(spliced), 'raw_splices'],
  ['a raw splice that is allowed', {}, (g) => g.checkStep(spliced), undefined],
  ['no raw splice', { raw_splices: false }, (g) => g.checkStep(step()), undefined],
  [
    'a command that must survive',
    { survive_agent_restart: false },
    (g) => g.checkConfig({ command: 'true', survive_agent_restart: true }, step()),
    'survive_agent_restart',
  ],
  ['a command as root', { become: [] }, (g) => g.checkConfig({ become: {} }, step()), 'become'],
  [
    'a command as another',
    { become: ['app'] },
    (g) => g.checkConfig({ become: { user: 'app' } }, step()),
    undefined,
  ],
  ['a script as the system', { become: [] }, (g) => g.checkConfig({ run_as: 'system' }, step()), 'become'],
  [
    'a script as the system that is allowed',
    { become: ['system'] },
    (g) => g.checkConfig({ run_as: 'system' }, step()),
    undefined,
  ],
  [
    'a scheduled task, which goes on by itself',
    { survive_agent_restart: false },
    (g) => g.checkConfig({ run_as: 'system' }, step()),
    'survive_agent_restart',
  ],
  [
    'a port that a step waits for',
    { targets: { ports: [22] } },
    (g) => g.checkConfig({ port: 5432 }, step({ stepType: 'wait_for' })),
    'targets.ports',
  ],
  ['a clean-up as root', { become: ['app'] }, (g) => g.checkBecome({ user: 'root' }, target), 'become'],
  [
    'old algorithms',
    { insecure_transports: [] },
    (g) => g.checkTarget({ ...target, algorithms: 'legacy' }),
    'insecure_transports',
  ],
  [
    'a name that a jump host looks up',
    { targets: { networks: ['10.0.0.0/8'] } },
    (g) => g.checkAddresses(target, []),
    'targets.networks',
  ],
  ['a host', { targets: { hosts: ['db-*.example.com'] } }, (g) => g.checkTarget(target), 'targets.hosts'],
  ['a listed host', { targets: { hosts: ['web-*.example.com'] } }, (g) => g.checkTarget(target), undefined],
  ['a port', { targets: { ports: [2222] } }, (g) => g.checkTarget(target), 'targets.ports'],
  [
    'an address',
    { targets: { networks: ['10.0.0.0/8'] } },
    (g) => g.checkAddresses(target, ['10.0.0.1', '192.0.2.1']),
    'targets.networks',
  ],
  [
    'a listed address',
    { targets: { networks: ['10.0.0.0/8'] } },
    (g) => g.checkAddresses(target, ['10.0.0.1']),
    undefined,
  ],
  [
    'an address where hosts are ruled only',
    { targets: { hosts: ['*'] } },
    (g) => g.checkAddresses(target, ['192.0.2.1']),
    undefined,
  ],
  ['a user', { users: ['deploy'] }, (g) => g.checkUser('root', target), 'users'],
  ['any user', { users: ['*'] }, (g) => g.checkUser('root', target), undefined],
  [
    'WinRM over HTTP',
    { insecure_transports: [] },
    (g) => g.checkTarget({ ...target, winrm: { ...winrm, transport: 'http' } }),
    'insecure_transports',
  ],
  [
    'Basic',
    { insecure_transports: ['winrm_http'] },
    (g) => g.checkTarget({ ...target, winrm: { ...winrm, authentication: 'basic' } }),
    'insecure_transports',
  ],
  [
    'an unverified certificate',
    { insecure_transports: ['winrm_basic'] },
    (g) => g.checkTarget({ ...target, winrm: { ...winrm, certificateCheck: 'skip' } }),
    'insecure_transports',
  ],
  ['WinRM over HTTPS', { insecure_transports: [] }, (g) => g.checkTarget({ ...target, winrm }), undefined],
])('%s is checked against the rules', (_, rules, check, rule) => {
  const t = setup(rules);
  expect(t.ruleOf(() => check(t.guard))).toBe(rule);
});

test('a refusal says what is refused, by which rule and where that is, and what is allowed', () => {
  const t = setup({ users: ['deploy', 'backup'] });
  t.ruleOf(() => t.guard.checkUser('root', target));
  expect(t.refusals).toEqual([
    {
      rule: 'users',
      message:
        'The policy of this agent does not allow user root: rule users; it allows deploy, backup (/etc/policy.yaml, line 7).',
      target: { name: 'web-1', host: 'web-1.example.com', port: 22 },
      attempt: undefined,
    },
  ]);
});

test('a refusal because of the time says what the clock of this machine says, as it may be wrong', () => {
  const { guard } = setup({ hours: { timezone: 'UTC', windows: [{ from: '13:00', to: '14:00' }] } });
  expect(() => guard.checkStep(step())).toThrow(
    'does not allow a step at this time (its clock says 2026-03-27T12:00:00.000Z): rule hours',
  );
});

test('without rules everything is allowed', () => {
  const guard = new PolicyGuard({ policy: { fileRoots: [] } });
  guard.checkStep(spliced);
  guard.checkTarget({ ...target, winrm: { ...winrm, transport: 'http' } });
  guard.checkAddresses(target, []);
  guard.checkUser('root', target);
  expect(guard.maySurvive).toBe(true);
});
